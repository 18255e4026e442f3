import { seededRng, type Rng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { map, type MapHandle } from "./map.ts";
import { testSeed } from "./test-seed.test.fixture.ts";

const strings = map({ key: "string" });
const rawBytes = map({ key: "bytes", value: "bytes" });

const ZEROS = new Uint8Array(4096);

const compareBytes = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b);
const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

async function all<K, V>(entries: AsyncIterable<[K, V]>): Promise<[K, V][]> {
  const list: [K, V][] = [];
  for await (const entry of entries) list.push(entry);
  return list;
}

/** Keys that share prefixes of any length, so that nodes gain and lose theirs. */
function randomKey(rng: Rng): Uint8Array {
  const key: number[] = [];
  const parts = 1 + rng.below(3);
  for (let i = 0; i < parts; i++) {
    const length = rng.chance(0.02) ? 300 : rng.below(20);
    key.push(...Array<number>(length).fill(rng.below(4)), rng.below(256));
  }
  return Uint8Array.from(key.slice(0, 1024));
}

function randomValue(rng: Rng): Uint8Array {
  const bytes = rng.chance(0.05) ? 1000 + rng.below(12_000) : rng.below(rng.chance(0.2) ? 800 : 60);
  return new Uint8Array(bytes).fill(rng.below(256));
}

describe.each([{ resident: true }, { resident: false }])(
  "a map, resident: $resident",
  ({ resident }) => {
    test("agrees with a plain map through random changes and reopenings", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const note = `seed ${seed}`;
      const model = new Map<string, { key: Uint8Array; value: Uint8Array }>();
      let extent = new MemoryExtent({ resident });
      let handle = rawBytes.open(extent);
      const known: Uint8Array[] = [];
      // Times of growth and times of shrinking, so that nodes split and merge at all heights.
      for (let step = 0; step < 4_000; step++) {
        const isGrowing = Math.floor(step / 1000) % 2 === 0;
        const isOld = known.length > 0 && rng.chance(isGrowing ? 0.3 : 0.9);
        const key = isOld ? rng.pick(known) : randomKey(rng);
        const name = latin(key);
        if (rng.chance(isGrowing ? 0.1 : 0.7)) {
          expect(await handle.delete(key), note).toBe(model.delete(name));
        } else {
          const value = randomValue(rng);
          await handle.set(key, value);
          model.set(name, { key, value });
          known.push(key);
        }
        if (rng.chance(0.2)) {
          const probe = rng.chance(0.7) && known.length > 0 ? rng.pick(known) : randomKey(rng);
          expect(await handle.get(probe), note).toEqual(model.get(latin(probe))?.value);
          expect(await handle.has(probe), note).toBe(model.has(latin(probe)));
        }
        if (step % 50 === 0) {
          extent = new MemoryExtent({ resident, bytes: extent.bytes });
          handle = rawBytes.open(extent);
        }
        if (step % 500 === 499) {
          const report = await handle.verify();
          expect(report.entries, note).toBe(model.size);
          const used = report.leaves + report.innerNodes + report.runPages + report.bitmapPages + 1;
          expect(used + report.freePages, note).toBe(report.pages);
          await expectRanges(handle, model, rng, note);
        }
      }
      for (const { key } of model.values()) expect(await handle.delete(key), note).toBe(true);
      const empty = await handle.verify();
      expect(empty, note).toMatchObject({ entries: 0, height: 0, pages: 2, freePages: 0 });
      expect(extent.lengthBytes, note).toBe(8192);
    });

    test("changes that nobody waited for happen in their order, and reads see those before them", async () => {
      const handle = strings.open(new MemoryExtent({ resident }));
      const sets = Array.from({ length: 500 }, async (_, i) => handle.set(`key-${i % 50}`, i));
      const seen = handle.get("key-7");
      const gone = handle.delete("key-7");
      const after = handle.get("key-7");
      await Promise.all(sets);
      expect(await seen).toBe(457);
      expect(await gone).toBe(true);
      expect(await after).toBeUndefined();
      expect(await handle.size()).toBe(49);
    });

    test("keys that come in order fill leaves to more than 90 %, upwards and downwards", async () => {
      for (const order of [(i: number) => i, (i: number) => 10_000 - i]) {
        const handle = strings.open(new MemoryExtent({ resident }));
        for (let i = 0; i < 5_000; i++)
          await handle.set(`flight-${String(order(i)).padStart(8, "0")}`, i);
        const report = await handle.verify();
        expect(report.leafFill).toBeGreaterThan(0.9);
        expect(report.height).toBeLessThanOrEqual(2);
      }
    });

    test("random keys fill leaves to about two thirds, and to more than a quarter after most are gone", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const handle = map<number>({ key: "number" }).open(new MemoryExtent({ resident }));
      const keys = Array.from({ length: 6_000 }, () => rng.float());
      for (const key of keys) await handle.set(key, 1);
      expect((await handle.verify()).leafFill, `seed ${seed}`).toBeGreaterThan(0.6);
      for (const key of keys.slice(0, 5_000)) await handle.delete(key);
      const report = await handle.verify();
      expect(report.leafFill, `seed ${seed}`).toBeGreaterThan(0.3);
      expect(report.freePages, `seed ${seed}`).toBeGreaterThan(report.leaves);
    });

    test("entries may change while they are walked through", async () => {
      const handle = strings.open(new MemoryExtent({ resident }));
      const name = (i: number): string => `k${String(i).padStart(5, "0")}`;
      for (let i = 0; i < 3_000; i++)
        await handle.set(name(i), i % 100 === 0 ? "x".repeat(5_000) : i);
      let seen = 0;
      for await (const [key] of handle.range()) {
        expect(key).toBe(name(seen++));
        await handle.delete(key);
      }
      expect(seen).toBe(3_000);
      expect(await handle.size()).toBe(0);
      for (let i = 0; i < 1_000; i++) await handle.set(name(i), i);
      const back: string[] = [];
      for await (const [key] of handle.range({ reverse: true })) {
        back.push(key);
        // Everything from here down but the first ten goes: bounds vanish under the walk.
        if (back.length === 300) for (let i = 10; i < 700; i++) await handle.delete(name(i));
      }
      expect(back.slice(0, 300)).toEqual(Array.from({ length: 300 }, (_, i) => name(999 - i)));
      expect(back.slice(-10)).toEqual(Array.from({ length: 10 }, (_, i) => name(9 - i)));
    });

    test("a walk goes on where what came next is gone", async () => {
      const name = (i: number): string => `k${String(i).padStart(5, "0")}`;
      // Wherever leaves begin, for some of these ends the walk's bound comes to lie behind all keys of a leaf that is not the last.
      for (let end = 1_000; end < 1_300; end += 25) {
        const handle = strings.open(new MemoryExtent({ resident }));
        for (let i = 0; i < 1_600; i++) await handle.set(name(i), i);
        const seen: string[] = [];
        for await (const [key] of handle.range()) {
          seen.push(key);
          if (seen.length === 1) for (let i = 20; i < end; i++) await handle.delete(name(i));
        }
        expect(seen.filter((key) => key >= name(end))).toHaveLength(1_600 - end);
      }
    });

    test("an update reads and writes in one step, and calls once", async () => {
      const handle = map<number | string>({ key: "string" }).open(new MemoryExtent({ resident }));
      let calls = 0;
      const add = (value: number | string | undefined): number => {
        calls++;
        return ((value as number | undefined) ?? 0) + 1;
      };
      const names = Array.from({ length: 300 }, (_, i) => `k${i % 100}`);
      await Promise.all(names.map(async (name) => handle.update(name, add)));
      expect(calls).toBe(300);
      expect((await all(handle.range())).every(([, value]) => value === 3)).toBe(true);
      // Longer, so that leaves split under it; gone; and never there.
      for (let i = 0; i < 100; i++)
        expect(await handle.update(`k${i}`, () => "x".repeat(1_200))).toHaveLength(1_200);
      for (let i = 0; i < 100; i += 2)
        expect(await handle.update(`k${i}`, () => undefined)).toBeUndefined();
      expect(await handle.update("never", () => undefined)).toBeUndefined();
      expect((await handle.verify()).entries).toBe(50);
      await expect(async () =>
        handle.update("k1", () => {
          throw new RangeError("no");
        }),
      ).rejects.toThrow("no");
      expect(await handle.get("k1")).toHaveLength(1_200);
      let inner: Promise<unknown> = Promise.resolve();
      await handle.update("k1", (value) => {
        inner = Promise.allSettled([
          (async () => handle.set("k2", 1))(),
          (async () => handle.get("k1"))(),
        ]);
        return `${value as string}!`;
      });
      const refused = {
        status: "rejected",
        reason: expect.objectContaining({ code: "invalid-argument" }),
      };
      expect(await inner).toEqual([refused, refused]);
      expect(await handle.get("k1")).toHaveLength(1_201);
      expect(await handle.has("k2")).toBe(false);
    });

    test("shorter values give their leaves back", async () => {
      const extent = new MemoryExtent({ resident });
      const handle = strings.open(extent);
      for (let i = 0; i < 400; i++) await handle.set(`k${i}`, "x".repeat(900));
      const { leaves } = await handle.verify();
      for (let i = 0; i < 400; i++) await handle.set(`k${i}`, 1);
      expect((await handle.verify()).leaves).toBeLessThan(leaves / 10);
    });

    test("what is passed in and what comes back is nobody else's", async () => {
      class Buffers extends MemoryExtent {
        override peek(offset: number, byteCount: number): Uint8Array | undefined {
          const bytes = super.peek(offset, byteCount);
          return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
        }
      }
      const handle = rawBytes.open(new Buffers({ resident }));
      const [key, value] = [Buffer.from("key"), Buffer.from("value")];
      const done = handle.set(key, value);
      key.fill(0);
      value.fill(0);
      await done;
      const found = await handle.get(Buffer.from("key"));
      const [entry] = await all(handle.range());
      await handle.set(Buffer.from("key"), Buffer.from("VALUE"));
      expect(latin(found as Uint8Array)).toBe("value");
      expect(entry?.map(latin)).toEqual(["key", "value"]);
    });

    test("long values come back whole and give their pages back", async () => {
      const extent = new MemoryExtent({ resident });
      const handle = strings.open(extent);
      const long = (bytes: number, fill: string): string => fill.repeat(bytes);
      await handle.set("a", long(100_000, "a"));
      await handle.set("b", long(50_000, "b"));
      const bytes = extent.lengthBytes;
      await handle.set("a", long(99_990, "A")); // the same pages
      expect(await handle.get("a")).toBe(long(99_990, "A"));
      expect(extent.lengthBytes).toBe(bytes);
      await handle.set("a", 1);
      await handle.set("c", long(90_000, "c")); // where a was
      expect(extent.lengthBytes).toBe(bytes);
      expect(await all(handle.range())).toEqual([
        ["a", 1],
        ["b", long(50_000, "b")],
        ["c", long(90_000, "c")],
      ]);
      await handle.verify();
    });
  },
);

/** Keeps only pages that are not zeros, so that a test may fill 144 MiB. */
class SparseExtent extends MemoryExtent {
  readonly #pages = new Map<number, Uint8Array>();
  #length = 0;

  override get lengthBytes(): number {
    return this.#length;
  }

  override peek(offset: number, byteCount: number): Uint8Array {
    const bytes = new Uint8Array(byteCount);
    for (let at = 0; at < byteCount;) {
      const inPage = (offset + at) % 4096;
      const page = this.#pages.get((offset + at - inPage) / 4096);
      if (page !== undefined) bytes.set(page.subarray(inPage, inPage + byteCount - at), at);
      at += 4096 - inPage;
    }
    return bytes;
  }

  override write(offset: number, bytes: Uint8Array): undefined {
    this.generation++;
    this.#length = Math.max(this.#length, offset + bytes.length);
    for (let at = 0; at < bytes.length;) {
      const inPage = (offset + at) % 4096;
      const number = (offset + at - inPage) / 4096;
      const part = bytes.subarray(at, at + 4096 - inPage);
      let page = this.#pages.get(number);
      if (page === undefined && Buffer.compare(part, ZEROS.subarray(0, part.length)) !== 0)
        this.#pages.set(number, (page = new Uint8Array(4096)));
      page?.set(part, inPage);
      at += part.length;
    }
  }

  override resize(lengthBytes: number): undefined {
    this.#length = lengthBytes;
    for (const number of this.#pages.keys())
      if (number * 4096 >= lengthBytes) this.#pages.delete(number);
  }
}

async function expectRanges(
  handle: MapHandle<Uint8Array, Uint8Array>,
  model: ReadonlyMap<string, { key: Uint8Array; value: Uint8Array }>,
  rng: Rng,
  note: string,
): Promise<void> {
  const sorted = [...model.values()].toSorted((a, b) => compareBytes(a.key, b.key));
  expect((await handle.first())?.[0], note).toEqual(sorted[0]?.key);
  expect((await handle.last())?.[0], note).toEqual(sorted.at(-1)?.key);
  for (let i = 0; i < 10; i++) {
    const from = rng.chance(0.8) ? randomKey(rng) : undefined;
    const to = rng.chance(0.8) ? randomKey(rng) : undefined;
    const limit = rng.chance(0.5) ? rng.below(50) : undefined;
    const reverse = rng.chance(0.5);
    const expected = sorted.filter(
      ({ key }) => (!from || compareBytes(key, from) >= 0) && (!to || compareBytes(key, to) < 0),
    );
    if (reverse) expected.reverse();
    const found = await all(
      handle.range({
        ...(from && { from }),
        ...(to && { to }),
        ...(limit !== undefined && { limit }),
        reverse,
      }),
    );
    expect(found, note).toEqual(expected.slice(0, limit ?? Infinity).map((e) => [e.key, e.value]));
  }
  const prefix = randomKey(rng).subarray(0, 1 + rng.below(4));
  const expected = sorted.filter(
    ({ key }) => compareBytes(key.subarray(0, prefix.length), prefix) === 0,
  );
  expect(await all(handle.prefix(prefix)), note).toEqual(expected.map((e) => [e.key, e.value]));
}

test("an extent that loses its memory in the middle of a turn mixes nothing up", async () => {
  const extent = new MemoryExtent();
  const handle = strings.open(extent);
  await handle.set("other", 0);
  extent.resident = false;
  const names = ["a", "bb", "ccc", "dddd"];
  for (const [i, name] of names.entries()) void handle.set(name, { i, text: name });
  const updated = names.map((name) =>
    handle.update(name, (value) => ({ ...(value as object), name })),
  );
  await Promise.all(updated);
  const read = await Promise.all(names.map((name) => handle.get(name)));
  expect(read).toEqual(names.map((name, i) => ({ i, text: name, name })));
  expect(await Promise.all(["a", "none", "bb"].map(async (name) => handle.has(name)))).toEqual([
    true,
    false,
    true,
  ]);
  expect(await Promise.all(names.map(async (name) => handle.delete(name)))).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(await all(handle.range())).toEqual([["other", 0]]);
});

describe("a map's keys", () => {
  test("lie in the order of their kind", async () => {
    const numbers = map<number>({ key: "number" }).open(new MemoryExtent());
    const doubles = [-Infinity, -1e300, -2.5, -1e-300, 0, 5e-324, 1, 1.5, 2 ** 53, Infinity];
    for (const key of doubles.toReversed()) await numbers.set(key, key);
    await numbers.set(-0, 0);
    expect(await all(numbers.range())).toEqual(doubles.map((key) => [key, key]));

    const integers = map({ key: "i64" }).open(new MemoryExtent());
    const bigints = [-(2n ** 63n), -5n, 0n, 7n, 2n ** 40n, 2n ** 63n - 1n];
    for (const key of bigints.toReversed()) await integers.set(key, null);
    expect((await all(integers.range())).map(([key]) => key)).toEqual(bigints);
    expect((await all(integers.range({ from: -5n, to: 7n }))).map(([key]) => key)).toEqual([
      -5n,
      0n,
    ]);

    const texts = strings.open(new MemoryExtent());
    const words = ["", "a", "a\0", "ab", "b", "é", "一", "\u{1f600}", "\u{1f600}".repeat(200)];
    for (const key of words.toReversed()) await texts.set(key, key.length);
    expect((await all(texts.range())).map(([key]) => key)).toEqual(words);
    expect((await all(texts.prefix("a"))).map(([key]) => key)).toEqual(["a", "a\0", "ab"]);
    expect((await all(texts.prefix("a", { reverse: true, limit: 2 }))).map(([key]) => key)).toEqual(
      ["ab", "a\0"],
    );
  });

  test("are refused when they are none", async () => {
    const texts = strings.open(new MemoryExtent());
    await expect(async () => texts.set("x".repeat(1025), 1)).rejects.toMatchObject({
      code: "invalid-argument",
    });
    await expect(async () => texts.get("\ud800")).rejects.toMatchObject({
      code: "invalid-argument",
    });
    await expect(async () =>
      map({ key: "number" }).open(new MemoryExtent()).set(NaN, 1),
    ).rejects.toMatchObject({ code: "invalid-argument" });
    const integers = map({ key: "i64" }).open(new MemoryExtent());
    await expect(async () => integers.set(2n ** 63n, 1)).rejects.toMatchObject({
      code: "invalid-argument",
    });
    expect(() => integers.prefix(1n)).toThrow("prefixes");
    await texts.set("x".repeat(1024), 1);
    expect(await texts.get("x".repeat(1024))).toBe(1);
  });
});

describe("a map's extent", () => {
  test("holds 3,000 of the longest keys", async () => {
    const handle = map<number>({ key: "bytes" }).open(new MemoryExtent());
    const seed = testSeed();
    const rng = seededRng(seed);
    const keys = Array.from({ length: 3_000 }, () => {
      const key = new Uint8Array(1024).fill(rng.below(2));
      for (let i = 0; i < 8; i++) key[rng.below(1024)] = rng.below(256);
      return key;
    });
    for (const [i, key] of keys.entries()) await handle.set(key, i);
    await handle.verify();
    for (const key of keys.slice(0, 2_900)) await handle.delete(key);
    await handle.verify();
    const left = new Set(keys.slice(2_900).map(latin));
    for (const key of keys.slice(0, 2_900)) left.delete(latin(key));
    expect(await handle.size(), `seed ${seed}`).toBe(left.size);
  });

  test("of more than 32,768 pages has several bitmaps", async () => {
    const handle = rawBytes.open(new SparseExtent());
    const long = new Uint8Array(16 * 1024 * 1024); // zeros: the extent keeps none of them
    for (let i = 0; i < 9; i++) await handle.set(Uint8Array.of(i), long);
    const report = await handle.verify();
    expect(report.bitmapPages).toBe(2);
    expect(report.freePages).toBeGreaterThan(0); // what was too short for a run before the second bitmap
    for (let i = 0; i < 9; i++) await handle.delete(Uint8Array.of(i));
    expect((await handle.verify()).pages).toBe(2);
  });

  test("is not written by a readonly turn, and not read after a turn", async () => {
    const writable = new MemoryExtent();
    await strings.open(writable).set("a", 1);
    for (const resident of [true, false]) {
      const extent = new MemoryExtent({ bytes: writable.bytes, readonly: true, resident });
      const handle = strings.open(extent);
      expect(await handle.get("a")).toBe(1);
      await expect(async () => handle.set("a", 2)).rejects.toMatchObject({
        code: "readonly-violation",
      });
      await expect(async () => handle.set("b", 2)).rejects.toMatchObject({
        code: "readonly-violation",
      });
      await expect(async () => handle.delete("a")).rejects.toMatchObject({
        code: "readonly-violation",
      });
      expect(await handle.delete("b")).toBe(false);
      expect(await handle.get("a")).toBe(1);
      extent.end();
      await expect(async () => handle.get("a")).rejects.toMatchObject({ code: "view-expired" });
    }
  });

  test("is left alone by opening and by reading an empty map", async () => {
    const extent = new MemoryExtent();
    const handle = strings.open(extent);
    expect(await handle.get("a")).toBeUndefined();
    expect(await handle.delete("a")).toBe(false);
    expect(await handle.size()).toBe(0);
    expect(await all(handle.range())).toEqual([]);
    await handle.verify();
    expect(extent.lengthBytes).toBe(0);
  });

  test("does not open as a map of another kind", async () => {
    const extent = new MemoryExtent();
    await strings.open(extent).set("a", 1);
    await expect(async () => map({ key: "i64" }).open(extent).size()).rejects.toMatchObject({
      code: "config-invalid",
    });
    expect(() => map({ key: "date" as "string" })).toThrow("key is date");
  });

  test("that refuses a write in the middle of a change refuses all that follows", async () => {
    class Small extends MemoryExtent {
      refuses = false;
      override write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
        if (this.refuses && offset > 0 && bytes.length > 2_000) throw new RangeError("too large");
        return super.write(offset, bytes);
      }
    }
    for (const resident of [true, false]) {
      const extent = new Small({ resident });
      const handle = strings.open(extent);
      for (let i = 0; i < 100; i++) await handle.set(`k${i}`, "x".repeat(20));
      extent.refuses = true;
      await expect(async () => handle.set("long", "x".repeat(9_000))).rejects.toThrow("too large");
      await expect(async () => handle.get("k1")).rejects.toThrow("too large");
      await expect(async () => handle.set("k1", 2)).rejects.toThrow("too large");
    }
  });
});
