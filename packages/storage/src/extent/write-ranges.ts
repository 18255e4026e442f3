/** Ranges that a turn has written, as pairs of first and behind last byte. */
import { pageOf } from "./extent-pages.ts";

/** Ranges that lie closer are written as one: that costs less than a range's own numbers. */
const RANGE_GAP_BYTES = 8;

/** In order, apart from each other, cut at `lengthBytes`. */
export function coalesced(ranges: readonly number[], lengthBytes: number): number[] {
  // As nearly every turn has it.
  if (ranges.length === 2 && (ranges[1] as number) <= lengthBytes) return [...ranges];
  const pairs: [number, number][] = [];
  for (let i = 0; i < ranges.length; i += 2) {
    const end = Math.min(ranges[i + 1] as number, lengthBytes);
    if ((ranges[i] as number) < end) pairs.push([ranges[i] as number, end]);
  }
  pairs.sort(([a], [b]) => a - b);
  const merged: number[] = [];
  for (const [from, to] of pairs) {
    const last = merged.length - 1;
    const before = merged[last];
    // A gap is read from the shadow of a page that both are in, so it must not leave it.
    if (before !== undefined && from <= before + RANGE_GAP_BYTES && sharePage(before, from))
      merged[last] = Math.max(before, to);
    else merged.push(from, to);
  }
  return merged;
}

const sharePage = (end: number, from: number): boolean =>
  from <= end || pageOf(end - 1) === pageOf(from);
