import { seededRng } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import type { NumberColumn } from "./column-aggregates.ts";
import { column } from "./column.ts";
import { javascriptKernels } from "./column-kernels.ts";

const TYPES = ["f64", "f32", "i32", "i64"] as const;
type Type = (typeof TYPES)[number];
const BLOCK_ROWS = { f64: 8192, f32: 16_384, i32: 16_384, i64: 8192 };
/** Beyond a run, and beyond the first leaf, behind which the next one lies between blocks. */
const BLOCKS = 45;

/** Blocks of all kinds of encodings and plain ones in runs; some rows set, whose blocks moved. */
async function bytesOf(type: Type, encoding: "auto" | "plain"): Promise<Uint8Array> {
  const rng = seededRng(TYPES.indexOf(type) + 1);
  const extent = new MemoryExtent();
  const handle = column(type, { encoding }).open(extent) as NumberColumn<"f64">;
  const rows = BLOCK_ROWS[type];
  const put = (value: number): number =>
    (type === "i64" ? BigInt(Math.trunc(value)) : value) as number;
  for (let block = 0; block < BLOCKS; block++) {
    const kind = encoding === "plain" || rng.below(6) > 0 ? 0 : 1 + rng.below(2);
    const values = Array.from({ length: rows }, (_, i) => {
      if (kind === 1) return put(block);
      if (kind === 2) return put(i % 200);
      const whole = rng.uint32() | 0;
      if (type === "i32") return whole;
      return put(type === "i64" ? whole * 2 ** 21 : whole * 2 ** (rng.below(60) - 30));
    });
    await handle.appendMany(values);
  }
  await handle.appendMany(Array.from({ length: 100 }, (_, i) => put(i)));
  for (let i = 0; i < 5; i++) await handle.set(rng.below(BLOCKS * rows), put(i));
  return extent.bytes;
}

describe.each(TYPES)("runs of a column of %s", (type) => {
  it.each(["auto", "plain"] as const)(
    "come to the same bits as block after block in JavaScript (encoding: %s)",
    async (encoding) => {
      const bytes = await bytesOf(type, encoding);
      const open = (resident: boolean, plain: boolean): NumberColumn<"f64"> =>
        column(type, plain ? { kernels: javascriptKernels } : {}).open(
          new MemoryExtent({ bytes, resident }),
        ) as NumberColumn<"f64">;
      const fast = open(true, false);
      const fastInJavascript = open(true, true);
      const slow = open(false, true);
      const rows = BLOCKS * BLOCK_ROWS[type] + 100;
      const edge = fc.oneof(
        fc.nat(rows),
        fc.nat(BLOCKS).map((block) => block * BLOCK_ROWS[type]),
      );
      await fc.assert(
        fc.asyncProperty(edge, edge, async (a, b) => {
          const query = { from: Math.min(a, b), to: Math.max(a, b) };
          const expected = await slow.sum(query);
          expect(fast.sum(query)).toBe(expected);
          expect(fastInJavascript.sum(query)).toBe(expected);
          expect(fast.mean(query)).toBe(await slow.mean(query));
        }),
        { numRuns: 25 },
      );
      expect(fast.sum()).toBe(await slow.sum());
      expect(fast.variance()).toBe(await slow.variance());
    },
  );
});

describe("a sum", () => {
  it("of nothing, and of negative zeros, is 0", () => {
    for (const type of TYPES) {
      const handle = column(type).open(new MemoryExtent()) as NumberColumn<"f64">;
      expect(handle.sum()).toBe(type === "i64" ? 0n : 0);
    }
    const zeros = column("f64", { encoding: "plain" }).open(new MemoryExtent());
    zeros.appendMany(new Float64Array(20_000).fill(-0)) as void;
    expect(zeros.sum()).toBe(0);
  });

  it("skips nothing that is damaged", () => {
    const extent = new MemoryExtent();
    const handle = column("f64", { encoding: "plain" }).open(extent);
    handle.appendMany(new Float64Array(8192 * 20).fill(1)) as void;
    const { bytes } = extent;
    const entry = 512 + 5 * 32;
    const view = new DataView(bytes.buffer);
    const sumOf = (change: () => void): unknown => {
      const kept = bytes.slice(entry, entry + 32);
      change();
      try {
        return column("f64").open(new MemoryExtent({ bytes })).sum();
      } catch (e) {
        return (e as { code: string }).code;
      } finally {
        bytes.set(kept, entry);
      }
    };
    expect(sumOf(() => undefined)).toBe(8192 * 20);
    expect(sumOf(() => view.setUint32(entry + 8, 65_528, true))).toBe("corruption");
    expect(sumOf(() => view.setUint8(entry + 12, 9))).toBe("corruption");
    expect(sumOf(() => view.setUint32(entry + 4, 7, true))).toBe("corruption");
    expect(sumOf(() => view.setUint32(entry, view.getUint32(entry, true) + 4, true))).toBe(
      "corruption",
    );
  });
});
