/**
 * Sizes and durations as people write them: `64MiB`, `10ms`, `1.5 h`. Inside the program they are plain numbers in the unit
 * their name ends in; a plain number in text is in that unit too.
 */

export type QuantityUnit = "bytes" | "ms";

const UNITS: Readonly<Record<QuantityUnit, ReadonlyMap<string, number>>> = {
  bytes: new Map([
    ["b", 1],
    ["kib", 2 ** 10],
    ["mib", 2 ** 20],
    ["gib", 2 ** 30],
    ["tib", 2 ** 40],
    ["kb", 1e3],
    ["mb", 1e6],
    ["gb", 1e9],
    ["tb", 1e12],
  ]),
  ms: new Map([
    ["ms", 1],
    ["s", 1_000],
    ["m", 60_000],
    ["min", 60_000],
    ["h", 3_600_000],
    ["d", 86_400_000],
  ]),
};

/** How values of a unit are written, for messages and documentation. */
export const QUANTITY_FORMS: Readonly<Record<QuantityUnit, string>> = Object.freeze({
  bytes: "64MiB, 1.5GiB (powers of 1,024), 64MB (of 1,000), or a plain number of bytes",
  ms: "10ms, 30s, 5m, 1.5h, 7d, or a plain number of milliseconds",
});

const QUANTITY = /^([+-]?\d[\d_]*(?:\.\d+)?)\s*([a-z]*)$/i;

/** The number that `text` stands for; undefined when it stands for none, or for no whole number of the unit. */
export function parseQuantity(text: string, unit: QuantityUnit): number | undefined {
  const [, digits, suffix] = QUANTITY.exec(text.trim()) ?? [];
  if (digits === undefined || suffix === undefined) return undefined;
  const factor = suffix === "" ? 1 : UNITS[unit].get(suffix.toLowerCase());
  if (factor === undefined) return undefined;
  const value = Number(digits.replaceAll("_", "")) * factor;
  return Number.isSafeInteger(value) ? value : undefined;
}

const SHOWN: Readonly<Record<QuantityUnit, readonly (readonly [string, number])[]>> = {
  bytes: [
    ["TiB", 2 ** 40],
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ],
  ms: [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
  ],
};

/** The shortest exact text that `parseQuantity` reads back as `value`: 65,536 bytes are `64KiB`. */
export function formatQuantity(value: number, unit: QuantityUnit): string {
  const [suffix, factor] = SHOWN[unit].find(([, size]) => value >= size && value % size === 0) ?? [
    unit === "bytes" ? "B" : "ms",
    1,
  ];
  return `${value / factor}${suffix}`;
}
