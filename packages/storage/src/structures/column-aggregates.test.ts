import { expect, it } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { column } from "./column.ts";

/** Some of two blocks: their means are known to a ten-thousandth, which is 1e-9 of what they are apart. */
const RANGES = [
  [8_100, 8_512],
  [0, 30_000],
] as const;

it.each(["i64", "f64"] as const)(
  "loses nothing of the variance of values far from 0, as times are (%s)",
  async (type) => {
    const values = Array.from(
      { length: 30_000 },
      (_, i) => 1_700_000_000_000n + BigInt(i * 1_000 + ((i * 4) % 256)),
    );
    const handle = column<"f64">(type as "f64").open(new MemoryExtent());
    await handle.appendMany((type === "i64" ? values : values.map(Number)) as number[]);
    for (const [from, to] of RANGES) {
      const some = values.slice(from, to);
      const sum = some.reduce((a, b) => a + b, 0n);
      // The variance times the square of how many they are, without rounding.
      const exact = some.reduce((a, b) => a + b * b, 0n) * BigInt(some.length) - sum * sum;
      const wanted = Number(exact) / some.length ** 2;
      const variance = (await handle.variance({ from, to })) as number;
      expect(Math.abs(variance / wanted - 1)).toBeLessThan(1e-13);
    }
  },
);
