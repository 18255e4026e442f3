import { PinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import {
  CHUNK_BYTES,
  type LockDenial,
  type MemoryDoor,
  type Region,
} from "../memory/memory-door.ts";
import { PortableMemory } from "../memory/portable-memory.ts";
import { Arena, type ArenaBlock } from "./arena.ts";

const KIB = 1024;

/** A region whose locks are granted or denied when the test says so. */
class Locks {
  readonly locked = new Set<number>();
  readonly asked: { readonly chunk: number; readonly answer: (denial?: LockDenial) => void }[] = [];
  readonly arena: Arena;
  /** To unlock the middle of something takes one. */
  noMappings = false;

  constructor() {
    const memory = new PortableMemory("as asked for");
    this.arena = new Arena(
      Object.create(memory, {
        reserve: {
          value: (byteCount: number): Region =>
            Object.create(memory.reserve(byteCount), {
              byteCount: { value: byteCount },
              lock: { value: (at: number, count: number) => this.#lock(at, count) },
              unlock: {
                value: (at: number, count: number) => {
                  if (this.noMappings) throw new PinionError("overloaded", "no mapping is left");
                  this.#unlock(at, count);
                },
              },
              populate: { value: async () => {} },
              discard: { value: (at: number, count: number) => this.#unlock(at, count) },
              view: { value: (_at: number, count: number) => new ArrayBuffer(count) },
              detach: { value: () => {} },
              release: { value: () => {} },
            }) as Region,
        },
      }) as MemoryDoor,
    );
  }

  #lock(at: number, byteCount: number): Promise<LockDenial | undefined> {
    return new Promise((resolve) =>
      this.asked.push({
        chunk: at / CHUNK_BYTES,
        answer: (denial) => {
          if (denial === undefined)
            for (let i = 0; i < byteCount / CHUNK_BYTES; i++) this.locked.add(at / CHUNK_BYTES + i);
          resolve(denial);
        },
      }),
    );
  }

  #unlock(at: number, byteCount: number): void {
    for (let i = 0; i < byteCount / CHUNK_BYTES; i++) this.locked.delete(at / CHUNK_BYTES + i);
  }

  async block(byteCount: number, committed = byteCount): Promise<ArenaBlock> {
    const block = this.arena.allocate(byteCount) as ArenaBlock;
    await block.commit(committed, {});
    return block;
  }

  async untilAsked(): Promise<void> {
    for (let i = 0; this.asked.length === 0 && i < 50; i++) await Promise.resolve();
  }

  /** The next question, once it is there. */
  async answer(denial?: LockDenial): Promise<void> {
    await this.untilAsked();
    const [next] = this.asked.splice(0, 1);
    expect(next).toBeDefined();
    next?.answer(denial);
    for (let i = 0; i < 10; i++) await Promise.resolve();
  }
}

describe("locks of an arena", () => {
  it("are denied to every block of a chunk that the system does not lock", async () => {
    const locks = new Locks();
    const blocks = await Promise.all([0, 1, 2].map(() => locks.block(64 * KIB)));
    const answers = blocks.map((block) => block.lock());
    await locks.answer("limit");
    expect(await Promise.all(answers)).toEqual(["limit", "limit", "limit"]);
    expect(blocks.map(({ lockedBytes }) => lockedBytes)).toEqual([0, 0, 0]);
    // Nothing is left that would keep the next one from asking.
    const again = (blocks[0] as ArenaBlock).lock();
    await locks.answer();
    expect(await again).toBeUndefined();
  });

  it("are not counted twice where a block grows while its lock is on its way", async () => {
    const locks = new Locks();
    const stays = await locks.block(64 * KIB);
    const block = await locks.block(128 * KIB, 64 * KIB);
    const first = block.lock();
    await block.commit(128 * KIB, {});
    const second = block.lock();
    await locks.answer();
    await Promise.all([first, second]);
    expect(block.lockedBytes).toBe(128 * KIB);
    expect(locks.locked.size).toBe(1);
    block.unlock();
    expect(locks.locked.size).toBe(0);
    stays.release();
  });

  it("go when they are given back while more of the block is being locked", async () => {
    const locks = new Locks();
    const block = await locks.block(4 * CHUNK_BYTES, CHUNK_BYTES);
    const first = block.lock();
    await locks.answer();
    await first;
    await block.commit(3 * CHUNK_BYTES, {});
    const second = block.lock();
    await locks.untilAsked();
    block.unlock();
    await locks.answer();
    await second;
    expect([locks.locked.size, block.lockedBytes]).toEqual([0, 0]);
    const third = block.lock();
    await locks.answer();
    await third;
    expect([locks.locked.size, block.lockedBytes]).toEqual([3, 3 * CHUNK_BYTES]);
    block.release();
    expect(locks.locked.size).toBe(0);
  });
});

it("what cannot be unlocked is let go all the same, and unlocked later", async () => {
  const locks = new Locks();
  const [first, second] = [await locks.block(CHUNK_BYTES), await locks.block(CHUNK_BYTES)];
  for (const block of [first, second]) {
    const locked = block.lock();
    await locks.answer();
    expect(await locked).toBeUndefined();
  }
  locks.noMappings = true;
  first.unlock();
  expect(locks.locked.size).toBe(2);
  locks.noMappings = false;
  second.unlock();
  expect(locks.locked.size).toBe(0);
});
