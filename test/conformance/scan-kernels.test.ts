/** What the inner loops of scans do, whoever runs them: the addon with vector instructions and without, and JavaScript. */
import { seededRng } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type * as Memory from "../../packages/storage/src/extent/memory-extent.ts";
import type * as AddonKernels from "../../packages/storage/src/structures/addon-scan-kernels.ts";
import type * as Columns from "../../packages/storage/src/structures/column.ts";
import type * as Kernels from "../../packages/storage/src/structures/column-kernels.ts";
import type * as Door from "../../packages/storage/src/memory/open-native-door.ts";
import { buildAddon } from "../support/build-addon.ts";

const inside = (name: string): string =>
  new URL(`../../packages/storage/src/${name}.ts`, import.meta.url).href;
const hasAddon = buildAddon();
const { javascriptKernels } = (await import(inside("structures/column-kernels"))) as typeof Kernels;
const { AddonKernels: OverAddon, scanKernels } = (await import(
  inside("structures/addon-scan-kernels")
)) as typeof AddonKernels;
const { column } = (await import(inside("structures/column"))) as typeof Columns;
const { MemoryExtent } = (await import(inside("extent/memory-extent"))) as typeof Memory;
const { loadAddon } = (await import(inside("memory/open-native-door"))) as typeof Door;

type ScanKernels = Kernels.ScanKernels;
type ScannedArray = Kernels.ScannedArray;
type Value = number | bigint;

const addon = loadAddon();
const KERNELS: [string, ScanKernels][] = [["JavaScript", javascriptKernels]];
if (typeof addon !== "string") {
  KERNELS.push(["the addon in plain C", new OverAddon(addon.scan, true)]);
  if (addon.scan.hasVectors) KERNELS.push(["the addon with AVX2", new OverAddon(addon.scan)]);
}

const TYPES = {
  f64: Float64Array,
  f32: Float32Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u32: Uint32Array,
  u16: Uint16Array,
  u8: Uint8Array,
} as const;
type Type = keyof typeof TYPES;
const NAMES = Object.keys(TYPES) as Type[];

const SPECIAL = [0, -0, NaN, Infinity, -Infinity, 1, -1, 5e-324, 1.7976931348623157e308];
const SPECIAL_F32 = [3.4028234663852886e38, 1e-45, 16_777_217, 0.1];
const WHOLE: readonly Value[] = [
  0,
  1,
  -1,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 32 - 1,
  65_535,
  255,
  127,
  128,
];
const WHOLE_I64 = [0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 32n, -(2n ** 32n), 2n ** 53n];

/** Values of a type, a third of them special, `shift` values into their memory. */
function valuesOf(type: Type, length: number, shift: number, seed: number): ScannedArray {
  const rng = seededRng(seed);
  // Some arrays are special values only: a single ordinary one would hide what comes of NaN or of zeros alone.
  const share = [0, 3, 10][rng.below(3)]!;
  const floats = [...SPECIAL, ...SPECIAL_F32].slice(0, 1 + rng.below(13));
  const value = (): Value => {
    const special = rng.below(10) >= share;
    if (type === "i64") {
      if (special) return WHOLE_I64[rng.below(WHOLE_I64.length)]!;
      return BigInt.asIntN(64, (BigInt(rng.uint32()) << 32n) | BigInt(rng.uint32()));
    }
    if (type !== "f64" && type !== "f32")
      return special ? WHOLE[rng.below(WHOLE.length)]! : rng.uint32();
    if (special) return floats[rng.below(floats.length)]!;
    return (rng.uint32() / 2 ** 16 - 2 ** 15) * 2 ** (rng.below(80) - 40);
  };
  const memory = new TYPES[type](length + shift);
  for (let i = 0; i < memory.length; i++) memory[i] = value();
  return memory.subarray(shift) as ScannedArray;
}

/** A bound: something of the array, or what no array of the type has. */
function boundOf(values: ScannedArray, seed: number): Value {
  const rng = seededRng(seed);
  const big = values instanceof BigInt64Array;
  if (values.length > 0 && rng.below(3) > 0) {
    const value = values[rng.below(values.length)]!;
    if (rng.below(3) > 0 || big) return value;
    return (value as number) + (rng.below(2) === 0 ? 0.5 : -0.5);
  }
  return big
    ? [2n ** 63n, -(2n ** 70n), 2n ** 64n, 0n, 7n][rng.below(5)]!
    : [Infinity, -Infinity, NaN, -0, 0.1, 1e300, -1, 2 ** 40][rng.below(8)]!;
}

/** K1, in as many words as it takes. */
function sumByTheBook(values: ScannedArray, blockRows: number, before: Value): Value {
  let total = before;
  for (let from = 0; from < values.length; from += blockRows) {
    const block = values.subarray(from, from + blockRows);
    if (block instanceof BigInt64Array) {
      for (const value of block) total = (total as bigint) + value;
      continue;
    }
    const s = Array.from({ length: 8 }, () => -0);
    const whole = block.length - (block.length % 8);
    for (let i = 0; i < whole; i++) s[i % 8]! += block[i]!;
    for (let i = whole; i < block.length; i++) s[i - whole]! += block[i]!;
    total =
      (total as number) + (s[0]! + s[4]! + (s[2]! + s[6]!) + (s[1]! + s[5]! + (s[3]! + s[7]!)));
  }
  return total;
}

const anArray = fc.record({
  type: fc.constantFrom(...NAMES),
  // From both sides of where the addon begins, and with every remainder of a step.
  length: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 20_000 })),
  shift: fc.nat(9),
  seed: fc.nat(2 ** 31),
});

describe.skipIf(!hasAddon)("columns", () => {
  it("are scanned by the addon where it is built", () => {
    expect(scanKernels()).toBeInstanceOf(OverAddon);
    expect(scanKernels()).toBe(scanKernels());
    const sum = vi.spyOn(scanKernels(), "sum");
    const count = vi.spyOn(scanKernels(), "countInRange");
    const handle = column("f64", { encoding: "plain" }).open(new MemoryExtent());
    void handle.appendMany(Float64Array.from({ length: 8192 * 40 }, (_, i) => i));
    expect(handle.sum()).toBe((8192 * 40 * (8192 * 40 - 1)) / 2);
    expect(handle.count({ filter: { min: 100, max: 199 } })).toBe(100);
    // Sixteen blocks lie in the first run of a column.
    expect(sum.mock.calls.map(([values]) => values.length)).toEqual([
      8192 * 16,
      8192 * 16,
      8192 * 8,
    ]);
    expect(count).toHaveBeenCalledOnce();
    vi.restoreAllMocks();
  });
});

describe.each(KERNELS)("scan kernels: %s", (_, kernels) => {
  it("add in the order that is written down, to the bit", () => {
    fc.assert(
      fc.property(
        anArray,
        fc.oneof(fc.integer({ min: 1, max: 400 }), fc.constantFrom(8192, 16_384, 2 ** 20)),
        fc.constantFrom(0, -0, 0.1, -1e16, NaN),
        ({ type, length, shift, seed }, blockRows, start) => {
          const values = valuesOf(type, length, shift, seed);
          const before = type === "i64" ? BigInt(seed) << 60n : start;
          const sum = kernels.sum(values, blockRows, before);
          expect(sum).toBe(sumByTheBook(values, blockRows, before));
        },
      ),
      { numRuns: 400 },
    );
  });

  it("find least and greatest, the first of equal zeros, and leave NaN out", () => {
    fc.assert(
      fc.property(anArray, ({ type, length, shift, seed }) => {
        const values = valuesOf(type, length, shift, seed);
        let least: Value = Infinity;
        let greatest: Value = -Infinity;
        for (const value of values) {
          if (value < least) least = value;
          if (value > greatest) greatest = value;
        }
        expect(kernels.min(values)).toBe(least);
        expect(kernels.max(values)).toBe(greatest);
      }),
      { numRuns: 400 },
    );
  });

  it("tell zeros apart wherever they stand", () => {
    for (const type of ["f64", "f32"] as const) {
      for (let at = 0; at < 200; at++) {
        const values = new TYPES[type](200).fill(-0);
        values[at] = 0;
        expect(kernels.min(values)).toBe(at === 0 ? 0 : -0);
        expect(kernels.max(values)).toBe(at === 0 ? 0 : -0);
      }
    }
  });

  it("count and select what lies in a range, whatever its bounds", () => {
    fc.assert(
      fc.property(
        anArray,
        fc.nat(2 ** 31),
        fc.nat(2 ** 31),
        fc.nat(3),
        ({ type, length, shift, seed }, lowSeed, highSeed, room) => {
          const values = valuesOf(type, length, shift, seed);
          const low = boundOf(values, lowSeed);
          const high = boundOf(values, highSeed);
          const expected: number[] = [];
          values.forEach((value: Value, i: number) => {
            if (value >= low && value <= high) expected.push(i);
          });
          const out = new Uint32Array(length + room).fill(7);
          expect(kernels.selectInRange(values, low, high, out)).toBe(expected.length);
          expect([...out.subarray(0, expected.length)]).toEqual(expected);
          expect(kernels.countInRange(values, low, high)).toBe(expected.length);
          // Nothing is written behind the room that is asked for.
          expect([...out.subarray(length)]).toEqual(Array(room).fill(7));
        },
      ),
      { numRuns: 400 },
    );
  });

  it("do not wrap", () => {
    const i64 = new BigInt64Array(20_000).fill(2n ** 63n - 1n);
    expect(kernels.sum(i64, 8192, 0n)).toBe(20_000n * (2n ** 63n - 1n));
    expect(kernels.sum(i64.fill(-(2n ** 63n)), 8192, 0n)).toBe(-(20_000n * 2n ** 63n));
    const i32 = new Int32Array(20_000).fill(-(2 ** 31));
    expect(kernels.sum(i32, 16_384, 0)).toBe(-20_000 * 2 ** 31);
    const u32 = new Uint32Array(20_000).fill(2 ** 32 - 1);
    expect(kernels.sum(u32, 2 ** 20, 0)).toBe(20_000 * (2 ** 32 - 1));
  });

  it("read memory that grows, and memory that is shared", () => {
    const growing = new ArrayBuffer(8 * 1000, { maxByteLength: 8 * 5000 });
    const values = new Float64Array(growing);
    values.fill(1);
    expect(kernels.sum(values, 8192, 0)).toBe(1000);
    growing.resize(8 * 3000);
    expect(kernels.sum(values, 8192, 0)).toBe(1000);
    growing.resize(8 * 500);
    expect(kernels.sum(values, 8192, 0)).toBe(500);
    growing.resize(0);
    expect(kernels.sum(values, 8192, 0)).toBe(0);
    const shared = new Int32Array(new SharedArrayBuffer(4000)).fill(3);
    expect(kernels.sum(shared, 16_384, 0)).toBe(3000);
    expect(kernels.max(shared)).toBe(3);
  });

  it.each<[string, (kernels: ScanKernels) => unknown]>([
    ["memory that was taken away", (k) => k.sum(taken(), 8192, 0)],
    ["memory that was taken away, for its least", (k) => k.min(taken())],
    ["memory that was taken away, for its greatest", (k) => k.max(taken())],
    ["memory that was taken away, to count", (k) => k.countInRange(taken(), 0, 1)],
    ["taken memory to select from", (k) => k.selectInRange(taken(), 0, 1, new Uint32Array(9999))],
    ["another type", (k) => k.sum(new Int16Array(999) as never, 8192, 0)],
    ["a view of no type", (k) => k.min(new DataView(new ArrayBuffer(999)) as never)],
    ["an ordinary array", (k) => k.max(Array.from({ length: 999 }, () => 1) as never)],
    ["nothing", (k) => k.countInRange(undefined as never, 0, 1)],
    ["too little room", (k) => k.selectInRange(ones(), 0, 1, new Uint32Array(ones().length - 1))],
    ["room that was taken away", (k) => k.selectInRange(ones(), 0, 1, taken(Uint32Array))],
    ["room of another type", (k) => k.selectInRange(ones(), 0, 1, new Int32Array(9999) as never)],
    ["blocks of no length", (k) => k.sum(ones(), 0, 0)],
    ["blocks of half a value", (k) => k.sum(ones(), 8.5, 0)],
    ["blocks beyond what a sum is exact for", (k) => k.sum(ones(), 2 ** 20 + 1, 0)],
  ])("refuse %s", (_name, scan) => {
    expect(() => scan(kernels)).toThrow(expect.objectContaining({ code: "internal" }));
  });
});

const ones = (): Float64Array<ArrayBuffer> => new Float64Array(1000).fill(1);

/** An array whose memory somebody else has got. */
function taken<T extends Float64Array | Uint32Array = Float64Array>(
  Values: new (length: number) => T = Float64Array as never,
): T {
  const values = new Values(1000);
  (values.buffer as ArrayBuffer).transfer();
  return values;
}

describe.skipIf(!hasAddon)("the addon's scans", () => {
  const junk: unknown[] = [
    undefined,
    null,
    0,
    -1,
    NaN,
    2 ** 53,
    1n << 80n,
    -1n,
    "text",
    {},
    [],
    Symbol("s"),
    () => 0,
    true,
    new ArrayBuffer(8),
    new DataView(new ArrayBuffer(8)),
    new Int8Array(3),
    new BigUint64Array(3),
    new Float64Array(0),
    taken(),
    new Float64Array(300),
    new BigInt64Array(300),
    new Uint8Array(300),
    new Uint32Array(300),
  ];

  it("answer or throw, whatever they are called with", () => {
    const scan = (addon as Door.LoadedAddon).scan as unknown as Record<string, unknown>;
    fc.assert(
      fc.property(
        fc.constantFrom("sum", "min", "max", "count", "select"),
        fc.array(fc.constantFrom(...junk), { maxLength: 6 }),
        (name, args) => {
          try {
            const answer = (scan[name] as (...args: unknown[]) => unknown)(...args);
            expect(["number", "bigint"]).toContain(typeof answer);
          } catch (e) {
            expect(e).toBeInstanceOf(TypeError);
          }
        },
      ),
      { numRuns: 20_000 },
    );
  });
});
