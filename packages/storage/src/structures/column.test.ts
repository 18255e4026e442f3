import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { column } from "./column.ts";
import { STORED_TYPES, type ColumnType, type ColumnValues } from "./column-types.ts";
import { damage, expectCode, expectContained, Turns } from "./structure.test.fixture.ts";

type Value = number | bigint | string;

/** The i-th value of a shape that one of the encodings suits. */
const SHAPES: Readonly<Record<ColumnType, readonly ((i: number, seed: number) => Value)[]>> = {
  f64: [
    (i, seed) => Math.sin(i + seed) * 1e6,
    (i, seed) => Math.floor((i + seed) / 500),
    (i) => (i % 7 === 0 ? NaN : i / 3),
    (i) => [0, -0, Infinity, -Infinity][i & 3]!,
  ],
  f32: [(i, seed) => Math.fround(Math.sin(i + seed)), (_, seed) => seed, () => NaN],
  i32: [
    (i, seed) => Math.imul(i + seed, 0x9e3779b1),
    (i, seed) => seed + (i % 200),
    (i, seed) => 1_000_000 + i * 40 + ((i * seed) % 30),
    (i) => Math.floor(i / 1000),
  ],
  i64: [
    (i, seed) => BigInt.asIntN(64, BigInt(i + seed) * 0x9e37_79b9_7f4a_7c15n),
    (i, seed) => 1_700_000_000_000n + BigInt(i * 1000 + ((i * seed) % 256)),
    (i) => BigInt(-(i % 100)),
    (i) => (i & 1 ? 2n ** 63n - 1n : -(2n ** 63n)),
  ],
  string: [
    (i, seed) => `value ${(i * seed) % 50}`,
    (i) => (i & 1 ? "" : "ü€😀"),
    (i, seed) => `rare ${seed} ${i % 300}`,
  ],
};

const TYPES = Object.keys(STORED_TYPES) as ColumnType[];

function valuesOf(type: ColumnType, shape: number, seed: number, count: number): Value[] {
  const shapes = SHAPES[type];
  const at = shapes[shape % shapes.length]!;
  return Array.from({ length: count }, (_, i) => at(i, seed));
}

const step = fc.record({
  kind: fc.constantFrom("append", "many", "many", "blocks", "set", "set", "turn"),
  shape: fc.nat(3),
  seed: fc.nat(1000),
  count: fc.integer({ min: 1, max: 3000 }),
});

const open = (type: ColumnType, resident: boolean, encoding: "auto" | "plain") =>
  new Turns(column<"f64">(type as "f64", { encoding }), resident);

describe.each(TYPES)("a column of %s", (type) => {
  it.each([true, false])("is an array that survives its turns (resident: %s)", async (resident) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 14 }),
        fc.constantFrom("auto" as const, "plain" as const),
        async (steps, encoding) => {
          const turns = open(type, resident, encoding);
          const model: Value[] = [];
          for (const { kind, shape, seed, count } of steps) {
            if (kind === "turn") turns.next();
            const { handle } = turns;
            const given = valuesOf(type, shape, seed, kind === "blocks" ? count * 10 : count);
            if (kind === "append") {
              for (const value of given.slice(0, 20)) await handle.append(value as number);
              model.push(...given.slice(0, 20));
            } else if (kind === "set") {
              for (let i = 0; i < 3 && model.length > 0; i++) {
                const row = (seed * 7919 + i * 104_729) % model.length;
                await handle.set(row, given[i % given.length] as number);
                model[row] = given[i % given.length]!;
              }
            } else if (kind !== "turn") {
              await handle.appendMany(given as number[]);
              model.push(...given);
            }
            expect(await handle.length).toBe(model.length);
          }
          await expectSame(turns, model, resident);
          turns.next();
          await expectSame(turns, model, resident);
        },
      ),
      { numRuns: 25 },
    );
  });

  it("answers filters, ranges and sums as a loop does", async () => {
    const condition = fc.record({
      from: fc.nat(40_000),
      rows: fc.nat(40_000),
      kind: fc.constantFrom("equals", "range", "least", "greatest", "oneOf", "none"),
      a: fc.nat(50_000),
      b: fc.nat(50_000),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 3 }),
        fc.array(condition, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (shapes, conditions, resident) => {
          const model = shapes.flatMap((shape, i) =>
            valuesOf(type, shape, i + 3, 14_000 + i * 5000),
          );
          const turns = open(type, resident, "auto");
          await turns.handle.appendMany(model as number[]);
          for (const { from: wanted, rows, kind, a, b } of conditions) {
            const from = wanted % model.length;
            const to = Math.min(model.length, from + rows);
            // A bound that is NaN is refused; tested elsewhere.
            const pick = (i: number) => {
              const value = model[i % model.length]!;
              return Number.isNaN(value) ? (0 as Value) : value;
            };
            const [low, high] = pick(a) <= pick(b) ? [pick(a), pick(b)] : [pick(b), pick(a)];
            const filter = {
              equals: { equals: low },
              range: { min: low, max: high },
              least: { min: low },
              greatest: { max: high },
              oneOf: { oneOf: [low, high, pick(a + 1)] },
              none: undefined,
            }[kind];
            const matches = (value: Value): boolean => {
              if (kind === "equals") return value === low;
              if (kind === "oneOf") return [low, high, pick(a + 1)].includes(value);
              return (
                kind === "none" ||
                ((kind === "greatest" || value >= low) && (kind === "least" || value <= high))
              );
            };
            const expected = model.slice(from, to).filter(matches);
            const query = { from, to, ...(filter && { filter: filter as { equals: number } }) };
            expect(await turns.handle.count(query)).toBe(expected.length);
            const seen: Value[] = [];
            for await (const batch of turns.handle.scan(query)) {
              expect(batch.rows.length).toBe(batch.values.length);
              seen.push(...(batch.values as unknown as Value[]));
              for (const row of batch.rows.subarray(0, 3)) expect(matches(model[row]!)).toBe(true);
            }
            expect(seen).toEqual(expected);
            if (type !== "string") await expectAggregates(turns.handle, query, expected);
          }
        },
      ),
      { numRuns: 15 },
    );
  });

  it("meets wrong bytes with an answer or a typed error", async () => {
    const turns = open(type, true, "auto");
    for (let shape = 0; shape < SHAPES[type].length; shape++)
      await turns.handle.appendMany(valuesOf(type, shape, 5, 17_000) as number[]);
    await turns.handle.set(3, valuesOf(type, 1, 9, 1)[0] as number);
    const { bytes } = turns.extent;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(),
        fc.nat(),
        fc.boolean(),
        async (how, where, what, resident) => {
          const damaged = new Turns(turns.definition, resident, damage(bytes, how, where, what));
          const { handle } = damaged;
          const some = valuesOf(type, 0, 77, 100) as number[];
          for (const run of [
            () => handle.length,
            async () => handle.get(Math.min(20_000, (await handle.length) - 1)),
            () => handle.count({ filter: { min: some[0]! } }),
            () => (type === "string" ? 0 : handle.sum()),
            async () => {
              for await (const batch of handle.scan({ filter: { equals: some[1]! } }))
                batch.rows.at(0);
            },
            () => handle.view().toTypedArray(),
            () => handle.set(100, some[2]!),
            () => handle.appendMany(some),
          ]) {
            await expectContained(run, ["not-resident", "invalid-argument", "state-too-large"]);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

async function expectAggregates(
  handle: ReturnType<typeof open>["handle"],
  query: object,
  expected: readonly Value[],
): Promise<void> {
  const numbers = expected.filter((value) => !Number.isNaN(value));
  const sorted = numbers.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  expect((await handle.min(query)) === sorted[0]).toBe(true); // 0 is −0
  expect((await handle.max(query)) === sorted.at(-1)).toBe(true);
  const shares = [0, 0.1, 0.5, 0.99, 1];
  const ranks = shares.map((p) => sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)]);
  expect((await handle.quantiles(shares, query)).every((q, i) => q === ranks[i])).toBe(true);
  if (typeof expected[0] === "bigint") {
    expect(await handle.sum(query)).toBe(
      expected.reduce((a, b) => (a as bigint) + (b as bigint), 0n),
    );
  }
  const floats = expected.map(Number);
  const sum = floats.reduce((a, b) => a + b, 0);
  const scale = floats.reduce((a, b) => a + Math.abs(b), 0) + 1;
  const close = (a: number | undefined, b: number, by: number): boolean =>
    Object.is(a, b) || Math.abs(a! - b) <= by * 1e-9;
  expect(close(Number(await handle.sum(query)), sum, scale)).toBe(true);
  const mean = await handle.mean(query);
  const variance = await handle.variance(query);
  if (floats.length === 0) return expect([mean, variance]).toEqual([undefined, undefined]);
  expect(close(mean, sum / floats.length, scale / floats.length)).toBe(true);
  if (!Number.isFinite(sum)) return;
  const squares = floats.map((value) => (value - mean!) ** 2).reduce((a, b) => a + b, 0);
  expect(close(variance, squares / floats.length, squares / floats.length + 1)).toBe(true);
}

async function expectSame(
  turns: ReturnType<typeof open>,
  model: readonly Value[],
  resident: boolean,
): Promise<void> {
  const { handle } = turns;
  expect(await handle.length).toBe(model.length);
  const seen: Value[] = [];
  for await (const { values } of handle.scan()) seen.push(...(values as unknown as Value[]));
  expect(seen).toEqual(model);
  for (let row = 0; row < model.length; row += 1 + (model.length >> 5))
    expect(await handle.get(row)).toEqual(model[row]);
  await expectCode(() => handle.get(model.length), "invalid-argument");
  if (!resident) return expectCode(() => handle.view(), "not-resident");
  const view = handle.view();
  expect(Array.from(view.toTypedArray())).toEqual(model);
  expect([...view].length).toBe(model.length);
}

describe("a column", () => {
  it("goes by its declared type", async () => {
    await expectCode(() => column("f64", { grow: "10" }), "config-invalid");
    await expectCode(() => column("f16" as "f64"), "config-invalid");
    expect(column("i32").options).toEqual({
      growBytes: 16 * 2 ** 20,
      growChosen: false,
      type: "i32",
      encoding: "auto",
    });
    expect(column("i32", { use: "scan" }).options.growBytes).toBe(256 * 2 ** 20);
    const turns = new Turns(column("i32"), true);
    for (const wrong of [1.5, 2 ** 31, NaN, "1", 1n, undefined])
      await expectCode(() => turns.handle.append(wrong as number), "invalid-argument");
    await expectCode(() => turns.handle.appendMany([1, 2, 0.5]), "invalid-argument");
    expect(turns.extent.lengthBytes).toBe(0);
    await turns.handle.append(-0);
    await expectCode(() => column("f32").open(turns.extent).length, "invalid-argument");
    await expectCode(() => turns.handle.count({ filter: { equals: NaN } }), "invalid-argument");
    const texts = new Turns(column("string"), true);
    await expectCode(() => texts.handle.append("\ud800"), "invalid-argument");
  });

  it("takes a million different strings nowhere: they are for what repeats", async () => {
    const { handle } = new Turns(column("string"), true);
    const texts = Array.from({ length: 98_304 }, (_, i) => `${i}`);
    await handle.appendMany(texts);
    await expectCode(() => handle.append("one more"), "state-too-large");
    expect(await handle.count({ filter: { min: "9831" } })).toBe(
      texts.filter((text) => text >= "9831").length,
    );
    const long = new Turns(column("string"), true);
    await long.handle.append("x".repeat(4 * 2 ** 20 - 1));
    await expectCode(() => long.handle.append("yy"), "state-too-large");
  });

  it("brings along other columns in the rows that match", async () => {
    const delays = new Turns(column("f64"), true);
    const carriers = new Turns(column("string"), false);
    const days = new Turns(column("i32"), true);
    const count = 30_000;
    for (let i = 0; i < count; i++) {
      await delays.handle.append(i / 2);
      await carriers.handle.append(`carrier ${i % 11}`);
      await days.handle.append(Math.floor(i / 1000));
    }
    let rows = 0;
    const columns = { delay: delays.handle, day: days.handle };
    for await (const batch of carriers.handle.scan({ filter: { equals: "carrier 7" }, columns })) {
      for (let i = 0; i < batch.rows.length; i++) {
        const row = batch.rows[i]!;
        expect([row % 11, batch.columns.delay[i], batch.columns.day[i]]).toEqual([
          7,
          row / 2,
          Math.floor(row / 1000),
        ]);
        rows++;
      }
    }
    expect(rows).toBe(Math.ceil((count - 7) / 11));
    const short = new Turns(column("f64"), true);
    await expectCode(async () => {
      for await (const batch of delays.handle.scan({ columns: { short: short.handle } }))
        batch.rows.at(0);
    }, "invalid-argument");
  });

  it("looks only at blocks that can hold what is asked for", async () => {
    const turns = new Turns(column("f64"), true);
    await turns.handle.appendMany(Array.from({ length: 8192 * 8 }, (_, i) => i + 0.5));
    const { extent } = turns;
    turns.next();
    const bytesRead: number[] = [];
    const { handle, extent: next } = turns;
    next.peek = (at, count) => {
      bytesRead.push(count);
      return MemoryExtent.prototype.peek.call(next, at, count);
    };
    expect(await handle.count({ filter: { min: 20_000, max: 20_010 } })).toBe(10);
    expect(bytesRead.filter((count) => count > 1000)).toEqual([65_536]);
    expect(await handle.count({ filter: { min: 8192, max: 16_384 } })).toBe(8192);
    expect(extent.ended).toBe(true);
  });

  it("finds values that were set beyond the bounds of their block", async () => {
    for (const encoding of ["plain", "auto"] as const) {
      const turns = new Turns(column("f64", { encoding }), true);
      await turns.handle.appendMany(Array.from({ length: 20_000 }, (_, i) => Math.floor(i / 100)));
      await turns.handle.set(10, 1e6);
      await turns.handle.set(9000, -1e6);
      const handle = turns.next();
      expect([await handle.max(), await handle.min()]).toEqual([1e6, -1e6]);
      expect(await handle.count({ filter: { equals: 1e6 } })).toBe(1);
      expect(await handle.count({ filter: { max: -1 } })).toBe(1);
      await handle.set(20, NaN);
      expect(await handle.count({ filter: { min: -Infinity } })).toBe(19_999);
    }
  });

  it("stores blocks as small as their values allow", async () => {
    const bytesOf = async (type: ColumnType, shape: (i: number) => Value): Promise<number> => {
      const turns = open(type, true, "auto");
      const count = STORED_TYPES[type].rows * 8;
      await turns.handle.appendMany(Array.from({ length: count }, (_, i) => shape(i)) as number[]);
      return (turns.extent.lengthBytes - 512 - 512) / 8; // header, first leaf
    };
    expect(await bytesOf("f64", (i) => i + 0.5)).toBe(65_536);
    expect(await bytesOf("f64", () => 7)).toBe(24);
    expect(await bytesOf("i32", (i) => (i * 7919) % 250)).toBe(16 + 16_384);
    expect(await bytesOf("i64", (i) => 1_700_000_000_000n + BigInt(i * 1000))).toBe(24 + 8192);
    expect(await bytesOf("i64", (i) => BigInt(i % 8192) << 50n)).toBe(65_536);
  });

  it("shows a view what the turn wrote, until the turn is over", async () => {
    const turns = new Turns(column("f64", { encoding: "plain" }), true);
    await turns.handle.appendMany(Float64Array.from({ length: 300_000 }, (_, i) => i));
    const view = turns.handle.view();
    expect(view.get(299_999)).toBe(299_999);
    await turns.handle.set(299_999, -1);
    await turns.handle.set(5, -2);
    await turns.handle.append(-3);
    expect([view.get(299_999), view.get(5), view.get(300_000), view.length]).toEqual([
      -1, -2, -3, 300_001,
    ]);
    for (const row of [-1, 0.5, 300_001, NaN])
      await expectCode(() => view.get(row), "invalid-argument");
    const runs = view.unsafeRuns();
    expect(runs.map(({ length }) => length)).toEqual([16 * 8192, 300_001 - 16 * 8192]);
    expect(Float64Array.from(runs.flatMap((run) => [...run]))).toEqual(view.toTypedArray());
    expect([...view.unsafeView(8000, 8300)]).toEqual([...view.toTypedArray(8000, 8300)]);
    await expectCode(() => view.unsafeView(), "invalid-argument");
    turns.next();
    await expectCode(() => view.get(5), "view-expired");
    await expectCode(() => view.length, "view-expired");
    await expectCode(() => view.unsafeRuns(), "view-expired");
  });

  it("shows a view a block that has moved", async () => {
    const { handle } = new Turns(column("i32"), true);
    await handle.appendMany(new Int32Array(20_000));
    const view = handle.view();
    expect(view.get(5)).toBe(0);
    await handle.set(5, 7);
    expect([view.get(5), view.get(6)]).toEqual([7, 0]);
  });

  it("gives no raw memory of what is stored in another way", async () => {
    const turns = new Turns(column("i32"), true);
    await turns.handle.appendMany(new Int32Array(20_000));
    await expectCode(() => turns.handle.view().unsafeView(), "invalid-argument");
    expect(turns.handle.view().unsafeView(16_384).length).toBe(20_000 - 16_384);
  });

  it("is exact about quantiles of more than fits", async () => {
    const count = 2 ** 20 + 5000;
    for (const type of ["f64", "i64"] as const) {
      const turns = open(type, true, "auto");
      const model = valuesOf(type, 0, 3, count);
      model.forEach((value, i) => (model[i] = i % 3 === 0 ? value : (model[0] as Value)));
      for (let at = 0; at < count; at += 2 ** 18)
        await turns.handle.appendMany(model.slice(at, at + 2 ** 18) as number[]);
      const sorted = model.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
      const shares = [0, 0.001, 0.25, 0.5, 0.9, 0.99999, 1];
      expect(await turns.handle.quantiles(shares)).toEqual(
        shares.map((p) => sorted[Math.max(0, Math.ceil(p * count) - 1)]),
      );
    }
    await expectCode(() => open("f64", true, "auto").handle.quantiles([1.1]), "invalid-argument");
  });

  it("refuses to write in a readonly turn", async () => {
    const turns = new Turns(column("f64"), true);
    await turns.handle.appendMany([1, 2, 3]);
    const extent = new MemoryExtent({ bytes: turns.extent.bytes, readonly: true });
    const handle = turns.definition.open(extent);
    expect(await handle.sum()).toBe(6);
    await expectCode(() => handle.append(1), "readonly-violation");
    await expectCode(() => handle.set(0, 1), "readonly-violation");
    expect(await handle.sum()).toBe(6);
    const empty = turns.definition.open(new MemoryExtent({ readonly: true }));
    expect(await empty.length).toBe(0);
    await expectCode(() => empty.appendMany([1]), "readonly-violation");
  });

  it("says so when a write was not awaited", async () => {
    const turns = new Turns(column("f64"), false);
    await turns.handle.append(1);
    const pending = turns.handle.set(0, 2);
    await expectCode(() => turns.handle.append(3), "invalid-argument");
    await pending;
    await turns.handle.append(3);
    expect(await turns.handle.sum()).toBe(5);
  });

  it("keeps its bytes: the format is frozen", async () => {
    const hashes: Record<string, string> = {
      f64: "280da21e197b5363",
      f32: "9489c29e1ddd4dda",
      i32: "f29fb89d5b7494fd",
      i64: "260eb333f3ea0214",
      string: "91432ae284e26c3d",
    };
    for (const type of TYPES) {
      const turns = open(type, true, "auto");
      for (let shape = 0; shape < SHAPES[type].length; shape++)
        await turns.handle.appendMany(valuesOf(type, shape, 5, 17_000) as number[]);
      const digest = await crypto.subtle.digest("SHA-256", turns.extent.bytes);
      hashes[type] = Buffer.from(digest).toString("hex").slice(0, 16);
    }
    expect(hashes).toEqual(GOLDEN_HASHES);
    const turns = new Turns(column("i32"), true);
    await turns.handle.appendMany([1, -2, 3]);
    const hex = Buffer.from(turns.extent.bytes).toString("hex");
    expect(hex).toBe(`${GOLDEN_HEADER.padEnd(2048, "0")}01000000feffffff03000000`);
  });

  it("leaves columns of later versions alone", async () => {
    const turns = new Turns(column("f64"), true);
    await turns.handle.append(1);
    const { bytes } = turns.extent;
    bytes[6] = 2;
    await expectCode(
      () => turns.definition.open(new MemoryExtent({ bytes })).length,
      "format-too-new",
    );
  });
});

const GOLDEN_HEADER =
  "504e535401000100030000000000000000000000000000000004000000000000".padEnd(128, "0") +
  "0002000000000000";
const GOLDEN_HASHES: Partial<Record<keyof ColumnValues, string>> = {
  f64: "280da21e197b5363",
  f32: "9489c29e1ddd4dda",
  i32: "f29fb89d5b7494fd",
  i64: "260eb333f3ea0214",
  string: "91432ae284e26c3d",
};
