/** Extents that lose their memory, or get it, while turns look at them. */
import { isPinionError } from "@pinion/core";
import { describe, expect, it, test } from "vitest";
import { bytes } from "../structures/bytes.ts";
import { BufferMemory, type ExtentMemory } from "./extent-memory.ts";
import { fillByPage, PAGE_BYTES } from "./extent-pages.ts";
import {
  commit,
  HeldPages,
  imageOf,
  memoryOf,
  numbered,
  pageOf,
  tick,
  turnOn,
} from "./held-pages.test.fixture.ts";

const MEMORY_BYTES = 65_536;

describe("a readonly turn", () => {
  it.each([true, false])(
    "beside one that cuts and writes again sees what was, or says that it cannot (resident: %s)",
    async (resident) => {
      const image = imageOf("bytes");
      commit(image, (turn) => turn.append(new Uint8Array(3 * PAGE_BYTES).fill(7)));
      if (resident) expect(await image.load(memoryOf(MEMORY_BYTES), fillByPage)).toBe(true);
      const reader = turnOn(image, true);
      commit(image, (turn) => {
        void turn.resize(0);
        turn.append(new Uint8Array(3 * PAGE_BYTES).fill(8));
      });
      const seen = await reader.read(PAGE_BYTES, 100).then(
        (range) => [...new Set(range)].join(),
        (e: unknown) => isPinionError(e) && e.code,
      );
      expect(["view-expired", "7"]).toContain(seen);
    },
  );

  it("gets its page although others commit all the time", async () => {
    const pages = numbered(8);
    const image = imageOf("bytes", 8 * PAGE_BYTES, pages);
    let done = false;
    const read = turnOn(image, true)
      .read(5 * PAGE_BYTES, 10)
      .finally(() => (done = true));
    for (let i = 0; i < 1_000 && !done; i++) {
      commit(image, (turn) => turn.write(0, pageOf(i))); // another page
      await tick();
    }
    expect(done).toBe(true);
    expect((await read)[0]).toBe(6);
    expect(pages.reads).toBeLessThan(10);
  });

  it("that waits for a page, and gets it from memory, sees no later change of it", async () => {
    for (let gap = 0; gap < 12; gap++) {
      const pages = numbered(4);
      const image = imageOf("bytes", 4 * PAGE_BYTES, pages);
      pages.hold = 1;
      const read = turnOn(image, true).read(2 * PAGE_BYTES, 10);
      expect(await image.load(memoryOf(MEMORY_BYTES), fillByPage)).toBe(true);
      pages.release();
      for (let i = 0; i < gap; i++) await Promise.resolve();
      commit(image, (turn) => turn.write(2 * PAGE_BYTES, pageOf(99)));
      expect((await read)[0], `gap ${gap}`).toBe(3);
    }
  });

  it("is not short of room for pages that it does not see", async () => {
    const image = imageOf("bytes");
    commit(image, (turn) => turn.append(new Uint8Array(2 * PAGE_BYTES).fill(1)));
    const reader = turnOn(image, true);
    for (let i = 0; i < 2; i++)
      commit(image, (turn) => turn.append(new Uint8Array(4_095 * PAGE_BYTES)));
    commit(image, (turn) => turn.write(PAGE_BYTES, pageOf(9)));
    expect((await reader.read(PAGE_BYTES, 1))[0]).toBe(1);
  });
});

test("a load that fails because the extent was let go meanwhile is no failure", async () => {
  const image = imageOf("bytes", 4 * PAGE_BYTES, numbered(4));
  const fill = async (): Promise<void> => {
    image.abandon();
    await tick();
    throw new Error("its segment is missing");
  };
  expect(await image.load(memoryOf(MEMORY_BYTES), fill)).toBe(false);
});

test("a cut goes on whatever is pushed out of memory meanwhile", async () => {
  const image = imageOf("bytes", 200 * PAGE_BYTES, numbered(200));
  const turn = turnOn(image);
  const cut = turn.resize(10 * PAGE_BYTES + 5);
  const read = turn.read(20 * PAGE_BYTES, 150 * PAGE_BYTES);
  await cut;
  expect((await read)[0]).toBe(21);
  expect(turn.lengthBytes).toBe(10 * PAGE_BYTES + 5);
});

test("memory that nobody can look at any more goes though turns overlap", async () => {
  const image = imageOf("bytes");
  const source = new BufferMemory();
  expect(await image.load(source.allocate(MEMORY_BYTES) as ExtentMemory, fillByPage)).toBe(true);
  let reader = turnOn(image, true);
  for (let i = 0; i < 20; i++) {
    commit(image, (turn) => turn.append(new Uint8Array(60_000)));
    const next = turnOn(image, true);
    reader.end();
    reader = next;
    await tick();
  }
  expect(source.usedBytes).toBeLessThanOrEqual(2 * image.memoryBytes);
});

test("a view sees what its turn has written after a commit", async () => {
  const image = imageOf("bytes");
  commit(image, (turn) => turn.append(new Uint8Array(PAGE_BYTES)));
  await image.load(memoryOf(MEMORY_BYTES), fillByPage);
  const turn = turnOn(image);
  const handle = bytes().open(turn);
  const write = (byte: number): void => {
    void handle.write(0, Uint8Array.of(byte));
    void handle.write(100, Uint8Array.of(byte));
  };
  write(1);
  const view = handle.view();
  expect(view.getUint8(0)).toBe(1);
  turn.commit(turn.delta()!);
  write(2);
  expect(view.getUint8(0)).toBe(2);
});

describe("an extent that is abandoned while a checkpoint writes it", () => {
  it("ends that with an error", async () => {
    const image = imageOf("bytes");
    commit(image, (turn) => turn.append(new Uint8Array(3 * PAGE_BYTES).fill(7)));
    expect(await image.load(memoryOf(MEMORY_BYTES), fillByPage)).toBe(true);
    const change = image.freeze()!;
    image.abandon();
    await expect(new HeldPages().take(change)).rejects.toMatchObject({ code: "cancelled" });
  });

  it("keeps nothing of what that gives it", async () => {
    const image = imageOf("bytes");
    commit(image, (turn) => turn.append(new Uint8Array(PAGE_BYTES)));
    const pages = new HeldPages();
    await pages.take(image.freeze()!);
    image.abandon();
    image.frozenWritten(pages);
    expect(pages.closed).toBe(true);
  });
});
