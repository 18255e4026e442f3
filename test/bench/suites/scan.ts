/**
 * Scans of columns in memory: the sum of all values.
 *
 * column, column-i32, column-packed   against a loop in JavaScript over a typed array of the same values
 * vectors, vectors-i32                against one call into the addon over such an array: AVX2 and nothing else
 * store                               a volume that is pinned, by `read`, against the same
 */
import { join } from "node:path";
import { column, openStore } from "@pinion/storage";
import type * as Memory from "../../../packages/storage/src/extent/memory-extent.ts";
import type * as Door from "../../../packages/storage/src/memory/open-native-door.ts";
import type { BenchCase, BenchContext, BenchSuite, Measurement } from "../harness.ts";

const inside = (name: string): string =>
  new URL(`../../../packages/storage/src/${name}.ts`, import.meta.url).href;
const { MemoryExtent } = (await import(inside("extent/memory-extent"))) as typeof Memory;
const { loadAddon } = (await import(inside("memory/open-native-door"))) as typeof Door;

const ROWS = 8 * 2 ** 20;
/** Of one update: 8 MiB. */
const PART_ROWS = 2 ** 20;

/** Begins with −0, because that is faster (see column-kernels.ts): the best that a loop of one line can do. */
function sumOf(values: Float64Array): number {
  let sum = -0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

/** For the other type: a function that meets both is slower for each. */
function sumOfInts(values: Int32Array): number {
  let sum = -0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}

/** Of one block as large as the addon takes. */
function vectorSumOf(values: Float64Array | Int32Array): () => number {
  const addon = loadAddon();
  if (typeof addon === "string") throw new Error(addon);
  return () => addon.scan.sum(values, 2 ** 20, 0, false) as number;
}

/** @returns GB/s of plain values */
async function rate(bytes: number, times: number, sum: () => unknown): Promise<Measurement> {
  const startMs = performance.now();
  for (let i = 0; i < times; i++) if (Number.isNaN(await sum())) throw new Error("not a sum");
  return { value: (bytes * times) / 1e6 / (performance.now() - startMs) };
}

function sumCase(
  name: string,
  type: "f64" | "i32",
  values: Float64Array | Int32Array,
  scale: number,
  floor: () => number,
): BenchCase {
  const handle = column(type).open(new MemoryExtent({ resident: true }));
  const times = Math.max(2, Math.round(40 * scale));
  return {
    name,
    unit: "GB/s",
    better: "higher",
    setUp: async () => {
      await handle.appendMany(values as Float64Array & Int32Array);
      for (let i = 0; i < 10; i++)
        if ((await handle.sum()) !== floor()) throw new Error("the sum is wrong");
      return async () => undefined;
    },
    subject: () => rate(values.byteLength, times, () => handle.sum()),
    floor: () => rate(values.byteLength, times, floor),
  };
}

/** A column of a store on disk, all of it in memory. */
function storeCase(dir: string, values: Float64Array, scale: number): BenchCase {
  const times = Math.max(2, Math.round(40 * scale));
  const floor = vectorSumOf(values);
  let sum: () => Promise<number>;
  return {
    name: "store",
    unit: "GB/s",
    better: "higher",
    setUp: async () => {
      const store = await openStore({ dir: join(dir, "store") });
      const declared = { values: column("f64", { encoding: "plain", use: "scan" }) };
      const volume = await store.open("numbers", declared, { profile: "hot" });
      for (let at = 0; at < values.length; at += PART_ROWS) {
        const part = values.subarray(at, at + PART_ROWS);
        await volume.update(({ values }) => values.appendMany(part));
      }
      sum = () => volume.read(({ values }) => values.sum());
      for (let i = 0; i < 10; i++)
        if ((await sum()) !== floor()) throw new Error("the sum is wrong");
      return async () => {
        await volume.close();
        await store.close();
      };
    },
    subject: () => rate(values.byteLength, times, () => sum()),
    floor: () => rate(values.byteLength, times, floor),
  };
}

export const suite: BenchSuite = {
  name: "scan",
  cases: ({ scale, dir }: BenchContext) => {
    // Sums of whole numbers are the same in any order.
    const floats = Float64Array.from({ length: ROWS }, (_, i) => (i * 7919) % 100_003);
    const ints = Int32Array.from({ length: ROWS }, (_, i) => Math.imul(i, 0x9e3779b1));
    const small = Int32Array.from({ length: ROWS }, (_, i) => (i * 7919) % 251);
    return [
      sumCase("column", "f64", floats, scale, () => sumOf(floats)),
      sumCase("column-i32", "i32", ints, scale, () => sumOfInts(ints)),
      sumCase("column-packed", "i32", small, scale, () => sumOfInts(small)),
      sumCase("vectors", "f64", floats, scale, vectorSumOf(floats)),
      sumCase("vectors-i32", "i32", ints, scale, vectorSumOf(ints)),
      storeCase(dir, floats, scale),
    ];
  },
};
