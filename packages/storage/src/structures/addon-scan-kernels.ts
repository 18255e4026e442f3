/**
 * Scans by the addon (native/scan.c), with AVX2 where the processor has it.
 *
 * Short arrays are JavaScript's: a call into the addon costs as much as a hundred values.
 */
import { loadAddon } from "../memory/open-native-door.ts";
import type { ScanAddon } from "../memory/scan-addon.ts";
import {
  checkBlockRows,
  checkRoom,
  checkScanned,
  javascriptKernels,
  type ScanKernels,
  type ScannedArray,
} from "./column-kernels.ts";
import type { StoredValue } from "./column-types.ts";

const NATIVE_FROM_VALUES = 128;
const LEAST_I64 = -(2n ** 63n);
const GREATEST_I64 = 2n ** 63n - 1n;

/** Least and greatest of each array of whole numbers. */
function boundsOf(values: ScannedArray): readonly [number, number] {
  if (values instanceof Int32Array) return [-(2 ** 31), 2 ** 31 - 1];
  return [0, 2 ** (8 * values.BYTES_PER_ELEMENT) - 1];
}

/** The same range in values of the array's type; undefined: it holds none of them. */
function rangeOf(
  values: ScannedArray,
  low: StoredValue,
  high: StoredValue,
): readonly [StoredValue, StoredValue] | undefined {
  if (values instanceof Float64Array || values instanceof Float32Array) return [low, high];
  if (values instanceof BigInt64Array) {
    const from = low > LEAST_I64 ? low : LEAST_I64;
    const to = high < GREATEST_I64 ? high : GREATEST_I64;
    return from <= to ? [from, to] : undefined;
  }
  const [least, greatest] = boundsOf(values);
  const from = Math.max(least, Math.ceil(low as number));
  const to = Math.min(greatest, Math.floor(high as number));
  return from <= to ? [from, to] : undefined;
}

export class AddonKernels implements ScanKernels {
  readonly #addon: ScanAddon;
  readonly #plain: boolean;

  /** @param plain without vector instructions, as on processors that have none */
  constructor(addon: ScanAddon, plain = false) {
    this.#addon = addon;
    this.#plain = plain;
  }

  sum(values: ScannedArray, blockRows: number, before: StoredValue): StoredValue {
    if (!isLong(values)) return javascriptKernels.sum(values, blockRows, before);
    checkBlockRows(blockRows);
    if (typeof before === "number") return this.#addon.sum(values, blockRows, before, this.#plain);
    return before + (this.#addon.sum(values, blockRows, 0, this.#plain) as bigint);
  }

  min(values: ScannedArray): StoredValue {
    return isLong(values) ? this.#addon.min(values, this.#plain) : javascriptKernels.min(values);
  }

  max(values: ScannedArray): StoredValue {
    return isLong(values) ? this.#addon.max(values, this.#plain) : javascriptKernels.max(values);
  }

  countInRange(values: ScannedArray, low: StoredValue, high: StoredValue): number {
    if (!isLong(values)) return javascriptKernels.countInRange(values, low, high);
    const range = rangeOf(values, low, high);
    if (range === undefined) return 0;
    return this.#addon.count(values, range[0], range[1], this.#plain);
  }

  selectInRange(
    values: ScannedArray,
    low: StoredValue,
    high: StoredValue,
    out: Uint32Array,
  ): number {
    if (!isLong(values)) return javascriptKernels.selectInRange(values, low, high, out);
    checkRoom(values, out);
    const range = rangeOf(values, low, high);
    if (range === undefined) return 0;
    return this.#addon.select(values, range[0], range[1], out, this.#plain);
  }
}

/** Long enough to be worth a call. */
function isLong(values: ScannedArray): boolean {
  checkScanned(values);
  return values.length >= NATIVE_FROM_VALUES;
}

let kernels: ScanKernels | undefined;

/** The fastest this thread has; every caller gets the same ones. */
export function scanKernels(): ScanKernels {
  return (kernels ??= openKernels());
}

function openKernels(): ScanKernels {
  const addon = loadAddon();
  return typeof addon === "string" ? javascriptKernels : new AddonKernels(addon.scan);
}
