/**
 * `pnpm soak [--minutes M] [--seed S] [--json]`: a real host under mixed load, killed now and then, watched for what grows.
 *
 * Every 5 s it notes the host's memory and open files, the size of its data directory, and the answers and sessions it keeps. At the
 * end the second half is held against the first: what grew by more than its bound is a leak, named, and the exit code is 1.
 */
import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { connect, type Client } from "@pinion/client";
import { messageOf, randomSeed, seededRng, type Rng } from "@pinion/core";
import { HostProcess } from "../support/host-process.ts";
import { ROOT } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";

const NOTE_MS = 5_000;
const KILL_MS = 45_000;
const CLIENTS = 4;
const ACTORS = 500;
/** A start, its caches and its first checkpoints: not held against anybody. */
const WARM_UP_MS = 15_000;

interface Note {
  readonly atMs: number;
  readonly rssMib: number;
  readonly openFiles: number;
  readonly dataMib: number;
  readonly dedupeEntries: number;
  readonly sessions: number;
}

/** By how much the median of the second half may exceed that of the first: a share, and an amount for small numbers. */
const GROWTH: Readonly<
  Record<Exclude<keyof Note, "atMs">, readonly [share: number, more: number]>
> = {
  rssMib: [0.25, 40],
  openFiles: [0.1, 10],
  dataMib: [0.5, 128],
  dedupeEntries: [0.5, 2_000],
  sessions: [0.5, 150], // they end only after their expiry: what a shorter run shows is not growth
};

async function bytesIn(dir: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(dir, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    // A segment may go between listing and asking.
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    sum += (found?.blocks ?? 0) * 512;
  }
  return sum;
}

const sumOf = (metrics: string, name: string): number =>
  [...metrics.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))]
    .map((m) => Number(m[1]))
    .reduce((a, b) => a + b, 0);

async function takeNote(host: HostProcess, dataDir: string, startMs: number): Promise<Note> {
  const { pid } = host.program.child;
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const metrics = await host.metrics();
  return {
    atMs: Math.round(performance.now() - startMs),
    rssMib: Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024),
    openFiles: (await readdir(`/proc/${pid}/fd`)).length,
    dataMib: Math.round((await bytesIn(dataDir)) / 2 ** 20),
    dedupeEntries: sumOf(metrics, "pinion_dedupe_entries"),
    sessions: sumOf(metrics, "pinion_sessions"),
  };
}

/** Mixed calls without pause; every client is replaced now and then, so that sessions come and go. */
async function load(endpoint: string, rng: Rng, ended: () => boolean): Promise<number> {
  let calls = 0;
  while (!ended()) {
    const client: Client = await connect(endpoint, { connectTimeoutMs: 30_000 });
    for (let n = 0; n < 5_000 && !ended(); n++) {
      const key = `a${rng.below(ACTORS)}`;
      const other = `a${rng.below(ACTORS)}`;
      const [method, args] = rng.pick([
        ["add", [1]],
        ["transfer", [other, 1]],
        ["post", [other, 1]],
        ["timer", []],
        ["read", []],
        ["fail", []],
      ] as const);
      // A `fail` fails, and of two transfers that meet one gives way.
      await client.call("soak", key, method, args, { timeoutMs: 60_000 }).catch(() => {});
      calls++;
    }
    await client.close();
  }
  return calls;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** What grew, in words. */
function growthOf(notes: readonly Note[]): string[] {
  const counted = notes.filter((n) => n.atMs >= WARM_UP_MS);
  const half = Math.floor(counted.length / 2);
  const grown: string[] = [];
  for (const [name, [share, more]] of Object.entries(GROWTH)) {
    const of = (part: readonly Note[]): number => median(part.map((n) => n[name as keyof Note]));
    const [before, after] = [of(counted.slice(0, half)), of(counted.slice(half))];
    if (after > before * (1 + share) + more) grown.push(`${name} grew from ${before} to ${after}`);
  }
  return grown;
}

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    seed: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const minutes = Number(values.minutes);
if (!(minutes > 0)) {
  console.error(`error[USAGE]: --minutes takes a number above 0, not "${values.minutes}"`);
  process.exit(2);
}
const seed = values.seed === undefined ? randomSeed() : Number(values.seed);
const rng = seededRng(seed);
const startMs = performance.now();
const notes: Note[] = [];
let kills = 0;
let failure: string | undefined;
let calls = 0;

await using dir = await temporaryDir();
const dataDir = join(dir.path, "data");
await mkdir(dataDir);
let port = 0;
const start = async (): Promise<HostProcess> => {
  const host = await HostProcess.start({
    dataDir,
    port,
    module: join(ROOT, "test/support/soak-actors.ts"),
    segmentBytes: 4 * 1024 * 1024,
    stagingBytes: 1024 * 1024,
    checkpointLogBytes: 8 * 1024 * 1024,
    checkpointDirtyMs: 2_000,
    idleDeactivationMs: 2_000,
    sessionExpiryMs: 60_000,
  });
  port = Number(host.endpoint.slice(host.endpoint.lastIndexOf(":") + 1));
  return host;
};
let host = await start();
try {
  const ended = (): boolean => performance.now() - startMs > minutes * 60_000;
  const loads = Array.from({ length: CLIENTS }, (_, n) =>
    load(host.endpoint, rng.fork(`client ${n}`), ended),
  );
  let nextKillMs = KILL_MS;
  while (!ended()) {
    await delay(NOTE_MS);
    if (performance.now() - startMs > nextKillMs) {
      await host.kill();
      host = await start();
      kills++;
      nextKillMs += KILL_MS * (0.5 + rng.float());
      continue;
    }
    const note = await takeNote(host, dataDir, startMs);
    notes.push(note);
    if (!values.json) console.log(JSON.stringify(note));
  }
  calls = (await Promise.all(loads)).reduce((a, b) => a + b, 0);
  await host.stop();
} catch (error) {
  failure = messageOf(error);
} finally {
  await host[Symbol.asyncDispose]();
}
const grown = growthOf(notes);
process.exitCode = grown.length > 0 || failure !== undefined ? 1 : 0;
const result = { seed, minutes, calls, kills, grown, failure, notes };
if (values.json) console.log(JSON.stringify(result, null, 2));
else {
  console.log(`${calls} calls, ${kills} kills, seed ${seed}`);
  for (const what of [...grown, ...(failure === undefined ? [] : [failure])])
    console.log(`FAILED  ${what}`);
}
