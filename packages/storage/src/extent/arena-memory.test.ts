import { afterEach, describe, expect, it } from "vitest";
import {
  CHUNK_BYTES,
  type LockDenial,
  type MemoryDoor,
  type NumaPolicy,
  type PopulateOptions,
  type Region,
  type RegionOptions,
} from "../memory/memory-door.ts";
import { PortableMemory } from "../memory/portable-memory.ts";
import { Arena } from "./arena.ts";
import { ArenaMemory, type ArenaPlacing } from "./arena-memory.ts";

const BIND: NumaPolicy = { kind: "bind", nodes: [1] };
const PREFERRED: NumaPolicy = { kind: "preferred", nodes: [1] };

/** Ordinary buffers that remember what was asked of them. */
class AskedDoor {
  readonly reserved: RegionOptions[] = [];
  readonly populated: PopulateOptions[] = [];
  /** What each further lock is answered with; then all are granted. */
  readonly denials: (LockDenial | undefined)[] = [];
  readonly door: MemoryDoor;

  constructor() {
    const memory = new PortableMemory("as asked for");
    this.door = Object.create(memory, {
      kind: { value: "addon" },
      reserve: {
        value: (byteCount: number, options: RegionOptions) =>
          this.#reserve(memory, byteCount, options),
      },
    }) as MemoryDoor;
  }

  #reserve(memory: MemoryDoor, byteCount: number, options: RegionOptions): Region {
    this.reserved.push(options);
    const region = memory.reserve(byteCount);
    const populate = async (_offset: number, _byteCount: number, asked: PopulateOptions) => {
      this.populated.push(asked);
    };
    return new Proxy(region, {
      get: (target, name) => {
        if (name === "populate") return populate;
        if (name === "lock") return async () => this.denials.shift();
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });
  }
}

const arenas: Arena[] = [];
afterEach(() => {
  for (const arena of arenas.splice(0)) arena.close();
});

const placing = (change: Partial<ArenaPlacing> = {}): ArenaPlacing => ({
  numa: BIND,
  hugePages: true,
  reservedPageBytes: undefined,
  hasRoom: () => true,
  ...change,
});

function machine(): AskedDoor & { readonly arena: Arena } {
  const asked = new AskedDoor();
  const arena = new Arena(asked.door);
  arenas.push(arena);
  return Object.assign(asked, { arena });
}

describe("the memory of an extent", () => {
  it("grows where it is bound while the node has room, and elsewhere when it has not", async () => {
    const { arena, reserved, populated } = machine();
    let room = true;
    const memory = await ArenaMemory.allocate(
      arena,
      4 * CHUNK_BYTES,
      placing({ hasRoom: () => room }),
    );
    expect([reserved, populated]).toEqual([[{ numa: BIND }], [{ hugePages: true }]]);
    memory.grown(6 * CHUNK_BYTES);
    await expect.poll(() => populated.length).toBe(2);
    expect(populated[1]).toEqual({ hugePages: true });
    await expect.poll(() => memory.block.committedBytes).toBeGreaterThan(6 * CHUNK_BYTES);
    room = false;
    memory.grown(9 * CHUNK_BYTES);
    await expect.poll(() => populated.length).toBe(3);
    expect(populated[2]).toEqual({ hugePages: true, numa: PREFERRED });
    memory.release();
  });

  it("of reserved pages is never bound, and is as usual in a larger block", async () => {
    const { arena, reserved, populated } = machine();
    const memory = await ArenaMemory.allocate(
      arena,
      2 * CHUNK_BYTES,
      placing({ hugePages: false, reservedPageBytes: CHUNK_BYTES }),
    );
    expect(memory.isReserved).toBe(true);
    expect(reserved).toEqual([{ numa: PREFERRED, reservedPageBytes: CHUNK_BYTES }]);
    expect(memory.block.byteCount).toBe(3 * CHUNK_BYTES);
    const larger = memory.larger(4 * CHUNK_BYTES) as ArenaMemory;
    await expect.poll(() => populated.length).toBe(2);
    expect([larger.isReserved, reserved[1], populated[1]]).toEqual([
      false,
      { numa: BIND },
      { hugePages: true },
    ]);
    larger.release();
    memory.release();
  });

  it("says that what it has grown into is not locked, until it is", async () => {
    const { arena, denials } = machine();
    const memory = await ArenaMemory.allocate(arena, 64 * 1024 * 1024, placing());
    denials.push(undefined, "limit");
    expect(await memory.lock()).toBeUndefined();
    expect(memory.unlockedGrowth).toBeUndefined();
    memory.grown(80 * 1024 * 1024);
    await expect.poll(() => memory.unlockedGrowth).toBe("limit");
    memory.grown(90 * 1024 * 1024);
    await expect.poll(() => memory.unlockedGrowth).toBeUndefined();
    denials.push("limit");
    memory.grown(100 * 1024 * 1024);
    await expect.poll(() => memory.unlockedGrowth).toBe("limit");
    memory.unlock();
    expect(memory.unlockedGrowth).toBeUndefined();
    memory.release();
  });
});
