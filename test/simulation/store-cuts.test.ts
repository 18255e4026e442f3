/** Lives of a store that end by power cuts, kills and failing disks, held against what was answered. */
import { isPinionError, seededRng, VirtualClock, type Rng } from "@pinion/core";
import {
  BufferMemory,
  column,
  map,
  openStoreOn,
  PlainResidency,
  SimDisk,
  SimKv,
  type Store,
  type Volume,
} from "@pinion/storage";
import { describe, expect, it } from "vitest";

const DECLARED = {
  ids: column("f64"),
  last: map<{ id: number; text: string }>({ key: "string" }),
};
const NAMES = ["a", "b/1", "b/2"];
const KEYS = 5;

interface Op {
  readonly id: number;
  readonly kind: "update" | "delete";
  answered: boolean;
}

interface Contents {
  readonly ids: number[];
  readonly last: Record<string, { id: number; text: string }>;
}

const textOf = (id: number): string => String(id).repeat(id % 9 === 0 ? 400 : 3);

/** What a volume holds after these. */
function after(ops: readonly Op[]): Contents {
  let contents: Contents = { ids: [], last: {} };
  for (const { id, kind } of ops) {
    if (kind === "delete") contents = { ids: [], last: {} };
    else {
      contents.ids.push(id);
      if (id % 4 === 3) delete contents.last[`k${(id + 2) % KEYS}`];
      contents.last[`k${id % KEYS}`] = { id, text: textOf(id) };
    }
  }
  return contents;
}

async function apply(volume: Volume<typeof DECLARED>, id: number, fails: boolean): Promise<void> {
  await volume.update(async ({ ids, last }) => {
    await ids.append(id);
    if (id % 4 === 3) await last.delete(`k${(id + 2) % KEYS}`);
    await last.set(`k${id % KEYS}`, { id, text: textOf(id) });
    if (fails) throw new RangeError("as asked for");
  });
}

const contentsOf = (volume: Volume<typeof DECLARED>): Promise<Contents> =>
  volume.read(async ({ ids, last }) => {
    const entries: [string, { id: number; text: string }][] = [];
    for await (const entry of last) entries.push(entry);
    const values: number[] = [];
    const count = await ids.length;
    for (let i = 0; i < count; i++) values.push((await ids.get(i)) as number);
    return { ids: values, last: Object.fromEntries(entries) };
  });

class Machine {
  readonly rng: Rng;
  disk: SimDisk;
  index: SimKv;
  clock = new VirtualClock();

  constructor(seed: number) {
    this.rng = seededRng(seed);
    this.disk = new SimDisk({ rng: this.rng.fork("disk"), inMemoryRate: 0.5 });
    this.index = new SimKv({ rng: this.rng.fork("index") });
  }

  open(flush: string, memoryBytesMax: number): Promise<Store> {
    // What a dead life waits for must not move the time of the next.
    this.clock = new VirtualClock();
    const ports = {
      disk: this.disk,
      index: this.index,
      residency: new PlainResidency(new BufferMemory(memoryBytesMax)),
      newGeneration: () => this.rng.below(2 ** 31),
    };
    return openStoreOn(ports, "store", {
      clock: this.clock,
      flush,
      logSegmentBytes: 256 * 1024,
      checkpointLogBytes: 64 * 1024,
      checkpointMs: 500,
      checkpointDirtyBytes: 64 * 1024,
      waitingMax: 4,
    });
  }

  /** The power goes and comes back; or the process dies, and the machine goes on. */
  end(how: "power" | "kill"): void {
    const { disk, index } = this;
    this.disk = how === "power" ? disk.crash() : disk.kill();
    this.index = how === "power" ? index.crash() : index.kill();
  }

  /** Resolves when that has happened at the given operation of disk and index together. */
  endAt(operation: number, how: "power" | "kill"): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let left = operation;
    const count = (): void => {
      if (--left !== 0) return;
      this.end(how);
      resolve();
    };
    this.disk.onOperation = count;
    this.index.onOperation = count;
    return promise;
  }

  /** Nothing fails any more, and nothing is cut. */
  calm(): void {
    this.disk.onOperation = this.index.onOperation = undefined;
    this.disk.clearFaults();
  }
}

/** What a life leaves to the next: all that was begun on each volume, in order. */
class Histories {
  readonly ops = new Map<string, Op[]>(NAMES.map((name) => [name, []]));
  #id = 0;

  begin(name: string, kind: Op["kind"]): Op {
    const op = { id: ++this.#id, kind, answered: false };
    (this.ops.get(name) as Op[]).push(op);
    return op;
  }

  forget(name: string, op: Op): void {
    const ops = this.ops.get(name) as Op[];
    ops.splice(ops.indexOf(op), 1);
  }

  /** Everything answered is there, and of the rest a beginning: as they ran one after the other. */
  settle(name: string, found: Contents): void {
    const ops = this.ops.get(name) as Op[];
    const answered = ops.findLastIndex((op) => op.answered) + 1;
    const possible: Contents[] = [];
    for (let count = answered; count <= ops.length; count++) {
      const contents = after(ops.slice(0, count));
      possible.push(contents);
      if (JSON.stringify(sorted(contents)) !== JSON.stringify(sorted(found))) continue;
      ops.splice(count);
      for (const op of ops) op.answered = true;
      return;
    }
    expect({ name, found }).toEqual({ name, found: possible });
  }
}

const sorted = ({ ids, last }: Contents): unknown => ({
  ids,
  last: Object.entries(last).sort(([a], [b]) => (a < b ? -1 : 1)),
});

/** Errors that a life with a failing disk may meet. */
const EXPECTED = new Set(["log-closed", "disk-full", "io-error", "overloaded", "disk-read-only"]);

class Life {
  readonly #machine: Machine;
  readonly #rng: Rng;
  readonly #histories: Histories;
  /** With "periodic" nobody waits for the flush: what was answered may be lost, from the end. */
  readonly #flush: "group" | "periodic(300ms)";
  #over = false;

  constructor(machine: Machine, histories: Histories, rng: Rng) {
    this.#machine = machine;
    this.#histories = histories;
    this.#rng = rng;
    this.#flush = rng.chance(0.3) ? "periodic(300ms)" : "group";
  }

  async run(operations: number): Promise<void> {
    const store = await this.#machine.open(this.#flush, this.#rng.pick([0, 200_000, Infinity]));
    await this.#checkAll(store);
    const work = Promise.all(NAMES.map((name) => this.#useVolume(store, name, operations)));
    let done = false;
    const whole = work.finally(() => (done = true));
    const { clock } = this.#machine;
    while (!done && clock === this.#machine.clock) {
      if (this.#rng.chance(0.3)) store.checkpoint().catch(() => {});
      await clock.advance(this.#rng.pick([1, 100, 700]));
    }
    await whole;
    await store.close();
  }

  async #checkAll(store: Store): Promise<void> {
    const listed = await store.volumes();
    for (const name of NAMES) {
      const volume = await store.open(name, DECLARED, { profile: this.#profile() });
      this.#histories.settle(name, await contentsOf(volume));
      const last = (this.#histories.ops.get(name) as Op[]).at(-1);
      expect({ name, listed: listed.includes(name) }).toEqual({
        name,
        listed: last?.kind === "update",
      });
      await volume.close();
    }
  }

  #profile(): "hot" | "cold" {
    return this.#rng.chance(0.5) ? "hot" : "cold";
  }

  async #useVolume(store: Store, name: string, operations: number): Promise<void> {
    const rng = this.#rng.fork(name);
    try {
      let volume = await store.open(name, DECLARED, { profile: this.#profile() });
      for (let i = 0; i < operations && !this.#over; i++) {
        if (rng.chance(0.1)) {
          await volume.close();
          if (rng.chance(0.4)) {
            const op = this.#histories.begin(name, "delete");
            await store.delete(name);
            op.answered = this.#flush === "group";
          }
          volume = await store.open(name, DECLARED, { profile: this.#profile() });
          continue;
        }
        const several = Array.from({ length: 1 + rng.below(3) }, () => this.#update(name, volume));
        if (rng.chance(0.2)) await contentsOf(volume);
        await Promise.all(several);
      }
      await volume.close();
    } catch (e) {
      if (!isPinionError(e) || !EXPECTED.has(e.code)) throw e;
    }
    this.#over = true;
  }

  async #update(name: string, volume: Volume<typeof DECLARED>): Promise<void> {
    const op = this.#histories.begin(name, "update");
    const fails = this.#rng.chance(0.15);
    if (fails) this.#histories.forget(name, op);
    try {
      await apply(volume, op.id, fails);
      op.answered = this.#flush === "group";
    } catch (e) {
      if (fails && e instanceof RangeError) return;
      // Refused: certainly not there.
      if (!fails && isPinionError(e, "disk-full")) this.#histories.forget(name, op);
      throw e;
    }
  }
}

const LIVES = 5;
const ENDS = ["power", "power", "power", "kill", "close", "log fails", "disk full"] as const;

async function verifyLives(seed: number): Promise<void> {
  const machine = new Machine(seed);
  const histories = new Histories();
  for (let life = 0; life < LIVES; life++) {
    const rng = machine.rng.fork(`life ${life}`);
    const end = rng.pick(ENDS);
    const running = new Life(machine, histories, rng);
    if (end === "log fails")
      machine.disk.fail({ kind: "write", path: "log/", nth: 10 + rng.below(60), error: "EIO" });
    if (end === "disk full") {
      const nth = 1 + rng.below(20);
      machine.disk.fail({ kind: "write", path: "state/", nth, times: 5, error: "ENOSPC" });
    }
    const isCut = end === "power" || end === "kill";
    const operation = 1 + rng.below(rng.chance(0.3) ? 60 : 700);
    const cut = isCut ? machine.endAt(operation, end) : new Promise<never>(() => {});
    await Promise.race([running.run(12), cut]);
    // It may not have come to that.
    machine.calm();
    if (!isCut && rng.chance(0.5)) machine.end("power");
  }
  await new Life(machine, histories, machine.rng).run(1);
}

describe("a store whose power is cut", () => {
  it.each(Array.from({ length: 48 }, (_, i) => i + 1))(
    "has what was answered, and of the rest whole updates only (seed %i)",
    (seed) => verifyLives(seed),
  );

  it("has no bad moment: cut at every operation of its first two lives, one after the other", async () => {
    let cuts = 0;
    for (let operation = 1; ; operation++) {
      const machine = new Machine(7);
      const histories = new Histories();
      const cut = machine.endAt(operation, "power").then(() => true);
      const lives = async (): Promise<boolean> => {
        for (const life of ["first", "second"])
          await new Life(machine, histories, machine.rng.fork(life)).run(1);
        return false;
      };
      const wasCut = await Promise.race([lives(), cut]);
      machine.calm();
      await new Life(machine, histories, machine.rng.fork("after")).run(0);
      if (!wasCut) break;
      cuts++;
    }
    expect(cuts).toBeGreaterThan(100);
  });
});
