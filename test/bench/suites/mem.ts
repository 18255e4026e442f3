/**
 * What a host's memory costs.
 *
 * reactivate-64mb  an actor with 64 MiB in a column, its host started anew: from the call to the sum of all its values. The floor reads a file of
 *                  the same size past the page cache into fresh memory and adds it up.
 * amplification    memory of this process beyond what it had before / pinned bytes, after every page was written anew and checkpointed. Pins lie
 *                  in anonymous memory and loads go past the page cache, so there is no cache that cannot be dropped to add.
 * vmas             mappings that a full budget of extents of 64 KiB to 8 MiB adds, after half of them went and others came, four times.
 * spawn            how long `child_process.spawn` holds the event loop with the budget pinned: the median of 20, `p99` the worst. The floor is a
 *                  process with nothing pinned. From the built package (`spawn-process.mjs`).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { closeSync, constants, openSync, read, writeSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { lsn, seededRng, shardId, systemClock } from "@pinion/core";
import { defineActor, readonly, startHost } from "@pinion/runtime";
import {
  ActorExtents,
  Arena,
  BudgetCounter,
  column,
  memoryDoor,
  PinManager,
  PinnedResidency,
  RealDisk,
  SegmentStateStore,
  SimKv,
} from "@pinion/storage";
import {
  median,
  type BenchCase,
  type BenchContext,
  type BenchSuite,
  type Measurement,
} from "../harness.ts";
import { buildPackages } from "../opened-host.ts";

const MIB = 2 ** 20;
const STATE_BYTES = 64 * MIB;
const ROWS_PER_CALL = 1_000_000;
const readAsync = promisify(read);

const Large = defineActor("large", {
  state: () => ({}),
  memory: {
    profile: "hot",
    extents: { values: column("f64", { encoding: "plain", use: "scan" }) },
  },
  methods: {
    async extend(ctx, rows: number) {
      await ctx.extents.values.appendMany(new Float64Array(rows).fill(1.5));
    },
    sum: readonly((ctx) => ctx.extents.values.sum()),
  },
});

/** The library types of Node leave WebAssembly out: its memory is fresh, and aligned for direct reads. */
const { Memory } = (globalThis as unknown as { WebAssembly: WebAssemblyNamespace }).WebAssembly;
interface WebAssemblyNamespace {
  readonly Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer };
}

/** Begins with −0, because that is faster (column-kernels.ts). */
function sumOf(values: Float64Array): number {
  let sum = -0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

function reactivate({ dir }: BenchContext): BenchCase {
  const dataDir = join(dir, "host");
  const file = join(dir, "plain");
  const rows = STATE_BYTES / 8;
  const start = () =>
    startHost({ actors: [Large], dataDir, port: 0, adminPort: 0, logLevel: "silent" });
  return {
    name: "reactivate-64mb",
    unit: "ms",
    better: "lower",
    setUp: async () => {
      await using host = await start();
      for (let at = 0; at < rows; at += ROWS_PER_CALL)
        await host.client.get(Large, "a").extend(Math.min(ROWS_PER_CALL, rows - at));
      const fd = openSync(file, "w");
      const piece = new Float64Array(MIB / 8).fill(1.5);
      for (let i = 0; i < STATE_BYTES / MIB; i++) writeSync(fd, piece);
      closeSync(fd);
      return async () => {
        await rm(dataDir, { recursive: true });
      };
    },
    subject: async () => {
      await using host = await start();
      const startMs = performance.now();
      const sum = await host.client.get(Large, "a").sum();
      const value = performance.now() - startMs;
      if (sum !== rows * 1.5) throw new Error(`the sum is ${sum}`);
      return { value };
    },
    floor: async () => {
      const fd = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
      const startMs = performance.now();
      const { buffer } = new Memory({ initial: STATE_BYTES / 65_536 });
      const { bytesRead } = await readAsync(fd, new Uint8Array(buffer), 0, STATE_BYTES, 0);
      const sum = sumOf(new Float64Array(buffer));
      const value = performance.now() - startMs;
      closeSync(fd);
      if (bytesRead !== STATE_BYTES || sum !== rows * 1.5) throw new Error("the file is another");
      return { value };
    },
  };
}

async function residentBytes(): Promise<number> {
  const status = await readFile("/proc/self/smaps_rollup", "utf8");
  return Number(/^Rss:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

/** What is garbage is no cost of pins. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** An extent that is filled, pinned, and written anew page by page, with checkpoints. */
function amplification({ dir, scale }: BenchContext): BenchCase {
  const pinnedBytes = Math.round(512 * scale) * MIB;
  const SHARD = shardId(0);
  const TURN_BYTES = 8 * MIB;
  return {
    name: "amplification",
    unit: "×",
    better: "lower",
    rounds: 1,
    subject: async (): Promise<Measurement> => {
      const rng = seededRng(1);
      const store = new SegmentStateStore({
        disk: new RealDisk(),
        dir: join(dir, "segments"),
        superblocks: new SimKv({ rng }),
        newGeneration: () => rng.below(2 ** 31),
        shardCount: 1,
      });
      const pins = new PinManager({
        clock: systemClock,
        budget: BudgetCounter.create(2 * pinnedBytes, 1).open(0),
      });
      const arena = new Arena(memoryDoor());
      const residency = new PinnedResidency(systemClock, pins, arena);
      const owner = { store, shard: SHARD, actor: "large/a" };
      let at = 0;
      const rewrite = async (extents: ActorExtents): Promise<void> => {
        const bytes = new Uint8Array(TURN_BYTES).fill(++at);
        for (let offset = 0; offset < pinnedBytes; offset += TURN_BYTES) {
          const turn = extents.begin(false);
          await turn.extent("data").write(offset, bytes);
          turn.finish()?.publish();
          turn.end();
        }
        await store.checkpoint([
          {
            shard: SHARD,
            appliedLsn: lsn(at),
            actors: new Map([
              [owner.actor, { state: undefined, stateVersion: 1, lsn: lsn(at), reminders: [] }],
            ]),
            extents: new Map([[owner.actor, extents.freeze()]]),
            facts: new Map(),
          },
        ]);
        await extents.written();
      };
      const declared = { data: { kind: "column", version: 1 } };
      const filled = await ActorExtents.open(owner, declared, []);
      await rewrite(filled);
      filled.release();
      collectGarbage();
      const before = await residentBytes();
      const extents = await ActorExtents.open(owner, declared, []);
      const actor = { actor: owner.actor, extents, names: ["data"], profile: "hot" as const };
      await residency.activate(actor);
      await rewrite(extents);
      if (extents.image("data")?.resident !== true) throw new Error("the extent was not pinned");
      collectGarbage();
      const value = ((await residentBytes()) - before) / pinnedBytes;
      residency.deactivate(actor);
      await pins.stop();
      arena.close();
      await store.close();
      return { value };
    },
  };
}

/** Blocks of an arena up to a budget, each with memory, locked. */
async function fill(arena: Arena, budgetBytes: number, sizeOf: () => number) {
  const blocks: { bytes: number; release(): void }[] = [];
  const add = async (usedBytes: number): Promise<void> => {
    for (let used = usedBytes; used < budgetBytes;) {
      const bytes = sizeOf();
      const block = arena.allocate(bytes);
      if (block === undefined) throw new Error("no address space");
      await block.commit(bytes, { hugePages: bytes >= 2 * MIB });
      await block.lock();
      blocks.push({ bytes, release: () => block.release() });
      used += bytes;
    }
  };
  await add(0);
  return { blocks, add };
}

function vmas({ scale }: BenchContext): BenchCase {
  const budgetBytes = Math.round(4096 * scale) * MIB;
  return {
    name: "vmas",
    unit: "mappings",
    better: "lower",
    rounds: 1,
    subject: async (): Promise<Measurement> => {
      const door = memoryDoor();
      const before = door.facts().mappings ?? NaN;
      const rng = seededRng(7);
      const arena = new Arena(door);
      // As many of each power of two from 64 KiB to 8 MiB, none of them full.
      const sizeOf = (): number => Math.ceil(2 ** (16 + rng.below(8)) * (0.5 + rng.float() / 2));
      const { blocks, add } = await fill(arena, budgetBytes, sizeOf);
      for (let round = 0; round < 4; round++) {
        for (let i = blocks.length - 1; i >= 0; i--)
          if (rng.below(2) === 0) blocks.splice(i, 1)[0]!.release();
        await add(blocks.reduce((sum, { bytes }) => sum + bytes, 0));
      }
      const value = (door.facts().mappings ?? NaN) - before;
      arena.close();
      return { value };
    },
  };
}

/** In a process of its own: what else this one has in memory would count. */
async function spawnTimes(pinnedBytes: number): Promise<Measurement> {
  const program = fileURLToPath(new URL("../spawn-process.mjs", import.meta.url));
  const child = spawn(process.execPath, [program, String(pinnedBytes)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
  await once(child, "close");
  const times = JSON.parse(text) as number[];
  return { value: median(times), p50: median(times), p99: Math.max(...times) };
}

function spawning({ scale }: BenchContext): BenchCase {
  const budgetBytes = Math.round(4096 * scale) * MIB;
  return {
    name: "spawn",
    unit: "ms",
    better: "lower",
    setUp: async () => {
      await buildPackages();
      return async () => {};
    },
    subject: () => spawnTimes(budgetBytes),
    floor: () => spawnTimes(0),
  };
}

export const suite: BenchSuite = {
  name: "mem",
  cases: (context: BenchContext) => [
    reactivate(context),
    amplification(context),
    vmas(context),
    spawning(context),
  ],
};
