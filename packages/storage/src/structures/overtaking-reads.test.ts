/** Reads that nobody has awaited yet when a write follows, of extents on disk: what they bring in comes when the write could be under way. */
import { describe, expect, it } from "vitest";
import { fillByPage } from "../extent/extent-pages.ts";
import { commitLater, memoryOf, stored, tick, turnOn } from "../extent/held-pages.test.fixture.ts";
import { blob } from "./blob.ts";
import { bytes } from "./bytes.ts";
import { column } from "./column.ts";
import { log } from "./log.ts";

/** Rounds of the event loop until what was held back comes. */
const ROUNDS = Array.from({ length: 8 }, (_, i) => i);

async function rounds(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await tick();
}

describe.each(ROUNDS)("a write behind a read whose page comes %s rounds later", (late) => {
  it.each([10, 20_000, 100_000])("of a log (entries of %s bytes)", async (size) => {
    const definition = log();
    const [image, pages] = await stored("log", async (turn) => {
      const handle = definition.open(turn);
      for (let i = 0; i < 40; i++) await handle.append(new Uint8Array(10_000).fill(i));
      await handle.truncateBefore(35); // what comes next lies in a slot that is used again
      for (let i = 0; i < 9; i++) await handle.append(new Uint8Array(10_000).fill(40 + i));
    });
    await commitLater(image, async (turn) => {
      const handle = definition.open(turn);
      pages.hold = 1;
      const read = handle.get(36);
      const writing = handle.append(new Uint8Array(size).fill(99));
      await rounds(late);
      pages.release();
      expect(await writing).toBe(49);
      expect((await read)?.value).toEqual(new Uint8Array(10_000).fill(36));
      expect(await handle.append("next")).toBe(50);
    });
    const handle = definition.open(turnOn(image, true));
    expect(await handle.nextNumber).toBe(51);
    expect((await handle.get(49))?.value).toEqual(new Uint8Array(size).fill(99));
    expect((await handle.get(50))?.value).toBe("next");
  });

  it("of a column", async () => {
    const definition = column("f64");
    const rows = 8_192 * 3 + 8_000;
    const [image, pages] = await stored("column", (turn) =>
      Promise.resolve(
        definition.open(turn).appendMany(Float64Array.from({ length: rows }, (_, i) => i / 3)),
      ),
    );
    await commitLater(image, async (turn) => {
      const handle = definition.open(turn);
      pages.hold = 1;
      const reads = [handle.get(3), handle.sum(), handle.length].map((read) =>
        Promise.resolve(read),
      );
      const writing = handle.appendMany(Float64Array.from({ length: 8_192 }, (_, i) => -i));
      await rounds(late);
      pages.release();
      await writing;
      expect(await Promise.all(reads)).toEqual([1, expect.closeTo((rows * (rows - 1)) / 6), rows]);
    });
    const handle = definition.open(turnOn(image, true));
    expect(await handle.length).toBe(rows + 8_192);
    expect(await handle.get(rows + 8_191)).toBe(-8_191);
  });

  it.each([true, false])("of a column of strings (in memory meanwhile: %s)", async (promoted) => {
    const definition = column("string");
    const [image, pages] = await stored("column", (turn) =>
      Promise.resolve(
        definition.open(turn).appendMany(Array.from({ length: 600 }, (_, i) => `text ${i}`)),
      ),
    );
    await commitLater(image, async (turn) => {
      const handle = definition.open(turn);
      await turn.read(0, 4_096); // the header is in memory, the dictionary is not
      pages.hold = 1_000;
      const read = handle.get(3);
      pages.hold = 0;
      if (promoted) expect(await image.load(memoryOf(2 ** 20), fillByPage)).toBe(true);
      const writing = handle.append("new");
      await rounds(late);
      pages.release();
      await writing;
      expect(await read).toBe("text 3");
      await handle.append("other");
    });
    const handle = definition.open(turnOn(image, true));
    expect([await handle.get(600), await handle.get(601)]).toEqual(["new", "other"]);
  });

  it("of blobs", async () => {
    const definition = blob();
    const content = (n: number): Uint8Array =>
      new Uint8Array(30_000).map((_, i) => (i * n * 31 + (i >> 3)) & 255);
    const [image, pages] = await stored("blob", async (turn) => {
      const handle = definition.open(turn);
      for (let i = 1; i < 12; i++) await handle.put(`b${i}`, content(i));
      for (let i = 1; i < 6; i++) await handle.delete(`b${i}`);
      await handle.reclaim();
    });
    await commitLater(image, async (turn) => {
      const handle = definition.open(turn);
      pages.hold = 1;
      const read = handle.stat("b7");
      const writing = handle.put("new", content(50));
      await rounds(late);
      pages.release();
      await writing;
      expect(await read).toMatchObject({ byteCount: 30_000 });
      await handle.put("newer", content(51));
    });
    const handle = definition.open(turnOn(image, true));
    for (const [name, n] of Object.entries({ b7: 7, new: 50, newer: 51 })) {
      const parts = await Array.fromAsync(handle.get(name));
      expect(Buffer.compare(Buffer.concat(parts), content(n)), name).toBe(0);
    }
    expect(await handle.stats()).toMatchObject({ blobs: 8 });
  });

  it("of bytes: the read sees all of what was, or all of what is", async () => {
    const definition = bytes();
    const [image, pages] = await stored("bytes", async (turn) =>
      definition.open(turn).append(new Uint8Array(20_000).fill(1)),
    );
    await commitLater(image, async (turn) => {
      const handle = definition.open(turn);
      pages.hold = 2;
      const read = handle.read(0, 20_000);
      const writing = handle.write(0, new Uint8Array(20_000).fill(2));
      await rounds(late);
      pages.release();
      await writing;
      expect(new Set(await read)).toEqual(new Set([1]));
    });
  });
});
