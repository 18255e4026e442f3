import { isPinionError, PinionError, seededRng, type Rng } from "@pinion/core";
import { afterEach, describe, expect, it } from "vitest";
import {
  CHUNK_BYTES,
  type LoadResult,
  type LoadRun,
  type LockDenial,
  type MemoryDoor,
  type Region,
  type RegionOptions,
} from "../memory/memory-door.ts";
import { PortableMemory } from "../memory/portable-memory.ts";
import { Arena, type ArenaBlock } from "./arena.ts";

const KIB = 1024;
const PAGE_BYTES = 4096;

/** Which chunks of a region have memory, and which are locked: asked for twice, or given back without, is a mistake. */
class CountedRegion implements Region {
  readonly byteCount: number;
  readonly kind = "anonymous";
  readonly populated = new Set<number>();
  readonly locked = new Set<number>();
  readonly #region: Region;
  readonly #rng: Rng;
  #released = false;

  constructor(region: Region, rng: Rng) {
    this.#region = region;
    this.byteCount = region.byteCount;
    this.#rng = rng;
  }

  async populate(offset: number, byteCount: number): Promise<void> {
    await this.#later();
    if (this.#rng.chance(0.05)) throw new PinionError("overloaded", "no memory, as asked for");
    await this.#region.populate(offset, byteCount);
    for (const chunk of chunksOf(offset, byteCount)) this.populated.add(chunk);
  }

  async lock(offset: number, byteCount: number): Promise<LockDenial | undefined> {
    for (const chunk of chunksOf(offset, byteCount)) {
      expect(this.locked.has(chunk)).toBe(false);
      this.locked.add(chunk);
    }
    await this.#later();
    return this.#rng.chance(0.2) ? "limit" : undefined;
  }

  unlock(offset: number, byteCount: number): void {
    expect(this.#released).toBe(false);
    for (const chunk of chunksOf(offset, byteCount)) expect(this.locked.delete(chunk)).toBe(true);
  }

  discard(offset: number, byteCount: number): void {
    this.#region.discard(offset, byteCount);
    for (const chunk of chunksOf(offset, byteCount)) this.populated.delete(chunk);
  }

  async #later(): Promise<void> {
    for (let rounds = this.#rng.below(3); rounds > 0; rounds--)
      await new Promise((resolve) => setImmediate(resolve));
  }

  load(runs: readonly LoadRun[]): Promise<LoadResult> {
    return this.#region.load(runs);
  }
  residentBytes(): undefined {}
  async measure(): Promise<undefined> {}
  async moveTo(): Promise<undefined> {}
  readonly policyDenied = undefined;
  view(offset: number, byteCount: number): ArrayBuffer {
    return this.#region.view(offset, byteCount);
  }
  detach(buffer: ArrayBuffer): void {
    this.#region.detach(buffer);
  }
  release(): void {
    this.#released = true;
    this.#region.release();
  }
}

function* chunksOf(offset: number, byteCount: number): Iterable<number> {
  expect([offset % CHUNK_BYTES, byteCount % CHUNK_BYTES]).toEqual([0, 0]);
  for (let at = offset; at < offset + byteCount; at += CHUNK_BYTES) yield at / CHUNK_BYTES;
}

class Machine {
  readonly rng: Rng;
  readonly regions: CountedRegion[] = [];
  readonly reserved: ({ readonly byteCount: number } & RegionOptions)[] = [];
  /** None are reserved by the machine. */
  noPages = false;
  readonly arena: Arena;

  constructor(seed: number) {
    this.rng = seededRng(seed);
    const memory = new PortableMemory("as asked for");
    const door = Object.create(memory, {
      reserve: {
        value: (byteCount: number, options: RegionOptions = {}): Region => {
          this.reserved.push({ byteCount, ...options });
          if (options.reservedPageBytes !== undefined && this.noPages)
            throw new PinionError("overloaded", "none are free");
          const region = new CountedRegion(memory.reserve(byteCount), this.rng.fork("region"));
          this.regions.push(region);
          return region;
        },
      },
    }) as MemoryDoor;
    this.arena = new Arena(door);
  }

  get populated(): number {
    return this.regions.reduce((sum, { populated }) => sum + populated.size, 0);
  }

  get locked(): number {
    return this.regions.reduce((sum, { locked }) => sum + locked.size, 0);
  }
}

/** A block and what its holder has written into it: the first and the last word of each page. */
class Held {
  readonly block: ArenaBlock;
  readonly #mark: number;
  #written = false;
  #busy: Promise<unknown> = Promise.resolve();

  constructor(block: ArenaBlock, mark: number) {
    this.block = block;
    this.#mark = mark;
  }

  write(): void {
    this.verify();
    const words = this.#words();
    for (let at = 0; at < words.length; at += PAGE_BYTES / 4) {
      words[at] = this.#mark;
      words[at + PAGE_BYTES / 4 - 1] = this.#mark;
    }
    this.#written = true;
  }

  /** As it was written, or zeros. */
  verify(): void {
    const expected = this.#written ? this.#mark : 0;
    const words = this.#words();
    let wrong = 0;
    for (let at = 0; at < words.length; at += PAGE_BYTES / 4)
      if (words[at] !== expected || words[at + PAGE_BYTES / 4 - 1] !== expected) wrong++;
    expect({ block: this.block.byteCount, wrong }).toEqual({
      block: this.block.byteCount,
      wrong: 0,
    });
  }

  /** One after the other: as who holds a block does. */
  after(work: () => Promise<unknown>): void {
    this.#busy = this.#busy.then(work).catch((e: unknown) => {
      if (!isPinionError(e, "overloaded")) throw e;
    });
  }

  get idle(): Promise<unknown> {
    return this.#busy;
  }

  #words(): Uint32Array {
    const { bytes } = this.block;
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  }
}

const arenas: Arena[] = [];
afterEach(() => {
  for (const arena of arenas.splice(0)) arena.close();
});

describe("an arena", () => {
  it.each(Array.from({ length: 30 }, (_, i) => i + 1))(
    "gives blocks of zeros that nobody else has, and gives everything back (seed %i)",
    async (seed) => {
      const machine = new Machine(seed);
      const { rng, arena } = machine;
      arenas.push(arena);
      const held: Held[] = [];
      const gone: Promise<unknown>[] = [];
      for (let step = 0; step < 250; step++) {
        const some = held.length === 0 ? undefined : rng.pick(held);
        switch (some === undefined || held.length < 4 ? 0 : rng.below(6)) {
          case 0:
          case 1: {
            const byteCount = 1 + rng.below(2 ** (14 + rng.below(9)));
            const block = arena.allocate(byteCount);
            expect(block?.byteCount).toBeGreaterThanOrEqual(byteCount);
            const one = new Held(block as ArenaBlock, step + 1);
            held.push(one);
            const commit = (): Promise<void> => one.block.commit(byteCount, {});
            one.after(commit);
            if (rng.chance(0.3)) await one.idle;
            // Others write at once: an extent that moves into a larger block does not wait.
            if (rng.chance(0.7)) one.write();
            break;
          }
          case 2:
            some?.after(() => (some as Held).block.commit(rng.below(2 ** 23), {}));
            break;
          case 3:
            // At any time: what an extent grows into is locked while others decide whether it should be.
            if (rng.chance(0.3)) some?.after(() => (some as Held).block.lock());
            else if (rng.chance(0.5)) gone.push((some as Held).block.lock());
            else some?.block.unlock();
            break;
          case 4:
            some?.write();
            break;
          default: {
            const [one] = held.splice(held.indexOf(some as Held), 1) as [Held];
            one.verify();
            one.block.release();
            one.after(async () => {});
            gone.push(one.idle);
          }
        }
        if (rng.chance(0.2)) await new Promise((resolve) => setImmediate(resolve));
        if (step % 25 === 0) for (const one of held) one.verify();
      }
      await Promise.all([...gone, ...held.map(({ idle }) => idle)]);
      for (const one of held) one.verify();
      const used = held.reduce((sum, { block }) => sum + block.committedBytes, 0);
      const stats = arena.stats();
      expect(stats.usedBytes).toBe(used);
      expect(stats.committedBytes).toBeLessThanOrEqual(machine.populated * CHUNK_BYTES);
      expect(stats.committedBytes).toBeGreaterThanOrEqual(used);
      expect(stats.fragmentation).toBeCloseTo(1 - used / stats.committedBytes);
      for (const { block } of held) block.release();
      expect(arena.stats()).toMatchObject({ committedBytes: 0, usedBytes: 0, fragmentation: 0 });
      expect({ populated: machine.populated, locked: machine.locked }).toEqual({
        populated: 0,
        locked: 0,
      });
    },
  );

  it("puts together what was split: after everything has gone the largest block fits again", async () => {
    const { arena, regions, rng } = new Machine(1);
    arenas.push(arena);
    const blocks = Array.from({ length: 300 }, () => arena.allocate(2 ** (16 + rng.below(5))));
    while (blocks.length > 0) blocks.splice(rng.below(blocks.length), 1)[0]?.release();
    const whole = arena.allocate(16 * 1024 ** 3);
    expect([whole?.byteCount, regions.length]).toEqual([16 * 1024 ** 3, 1]);
  });

  it("wastes at most the chunks that are shared: figures of small, large and mixed blocks", async () => {
    const figures: Record<string, number> = {};
    const mixes = {
      small: [64 * KIB, 64 * KIB],
      large: [4 * CHUNK_BYTES, 4 * CHUNK_BYTES],
      mixed: [64 * KIB, CHUNK_BYTES],
    } as const;
    for (const [mix, sizes] of Object.entries(mixes)) {
      const memory = new PortableMemory("as asked for");
      const arena = new Arena(memory);
      arenas.push(arena);
      const rng = seededRng(7);
      const blocks: ArenaBlock[] = [];
      for (let i = 0; i < 64; i++) {
        const size = rng.pick(sizes);
        const block = arena.allocate(size) as ArenaBlock;
        await block.commit(size, {});
        blocks.push(block);
        // A third goes again, so that there are holes.
        if (i % 3 === 2) blocks.splice(rng.below(blocks.length), 1)[0]?.release();
      }
      figures[mix] = arena.stats().fragmentation;
    }
    expect(figures["large"]).toBe(0);
    expect(figures["small"]).toBeLessThan(0.35);
    expect(figures["mixed"]).toBeLessThan(0.2);
  });

  it("does not show one block's bytes in the next, also when their memory comes late", async () => {
    const machine = new Machine(2);
    const { arena } = machine;
    arenas.push(arena);
    const stays = arena.allocate(64 * KIB) as ArenaBlock;
    const first = arena.allocate(64 * KIB) as ArenaBlock;
    const committing = first.commit(64 * KIB, {});
    first.bytes.fill(9); // as an extent that has just outgrown its block does
    first.release();
    await committing;
    const second = arena.allocate(64 * KIB) as ArenaBlock;
    await second.commit(64 * KIB, {});
    expect(second.bytes.every((byte) => byte === 0)).toBe(true);
    stays.release();
    second.release();
  });

  it("can be closed while a locked block is asked where it is", async () => {
    const { arena } = new Machine(7);
    const block = arena.allocate(CHUNK_BYTES) as ArenaBlock;
    await block.commit(CHUNK_BYTES, {});
    expect(await block.lock()).toBeUndefined();
    const measuring = block.measure();
    arena.close();
    await measuring;
    expect(await block.measure()).toBeUndefined();
  });

  it("keeps blocks of different NUMA policies in different regions", () => {
    const { arena, reserved } = new Machine(3);
    arenas.push(arena);
    const bind = { kind: "bind", nodes: [0] } as const;
    const spread = { kind: "interleave", nodes: [0, 1] } as const;
    for (const numa of [
      bind,
      spread,
      undefined,
      bind,
      spread,
      undefined,
      { kind: "local" } as const,
    ])
      arena.allocate(64 * KIB, numa === undefined ? {} : { numa });
    expect(reserved.map(({ numa }) => numa)).toEqual([bind, spread, { kind: "local" }]);
  });

  it("gives reserved pages a region of their own, of just so many, that goes with the block", async () => {
    const machine = new Machine(4);
    const { arena, reserved, regions } = machine;
    arenas.push(arena);
    const options = { reservedPageBytes: CHUNK_BYTES };
    const block = arena.allocate(2 * CHUNK_BYTES + 1, options) as ArenaBlock;
    expect(block.byteCount).toBe(3 * CHUNK_BYTES);
    expect(reserved).toMatchObject([{ byteCount: 3 * CHUNK_BYTES, ...options }]);
    await block.commit(3 * CHUNK_BYTES, {});
    block.bytes.fill(7);
    expect(arena.stats()).toMatchObject({
      reservedBytes: 3 * CHUNK_BYTES,
      committedBytes: 3 * CHUNK_BYTES,
      fragmentation: 0,
    });
    // Nobody else lies in it.
    arena.allocate(64 * KIB);
    expect(regions).toHaveLength(2);
    const locking = block.lock();
    block.release();
    await locking;
    expect(arena.stats().committedBytes).toBe(0);
    expect(() => regions[0]?.view(0, 4096)).toThrow("released");
    machine.noPages = true;
    expect(arena.allocate(CHUNK_BYTES, options)).toBeUndefined();
  });
});
