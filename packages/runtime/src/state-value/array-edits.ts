/**
 * What became of an array: which runs of its elements were kept, dropped and inserted. Known for free from the splices a
 * turn made, as long as they are few; otherwise found by comparing.
 *
 * Elements are the same when `Object.is` says so: containers by identity, since a committed container stands at one place.
 */

/** Beyond so many runs comparing is cheaper than keeping the log in order. */
const SEGMENTS_MAX = 64;
/** How far ahead two arrays are compared where they part. */
const LOOK_AHEAD = 32;
/** Searches of the whole rest, for what lies further ahead: each is linear, so few. */
const LONG_SEARCHES_MAX = 4;

export interface ArrayEdits {
  /** keep, drop, insert, keep, drop, insert… over the old elements; what follows is kept. */
  readonly runs: number[];
  /** Index in the new array of each inserted element, in order. */
  readonly inserted: number[];
  /** Index in the old array of each element that is dropped. */
  readonly dropped: number[];
}

class EditsBuilder implements ArrayEdits {
  readonly runs: number[] = [];
  readonly inserted: number[] = [];
  readonly dropped: number[] = [];
  #keep = 0;
  #before = 0;
  #after = 0;

  keep(count: number): void {
    this.#keep += count;
    this.#before += count;
    this.#after += count;
  }

  replace(drop: number, insert: number): void {
    if (drop + insert === 0) return;
    this.runs.push(this.#keep, drop, insert);
    this.#keep = 0;
    for (let n = 0; n < drop; n++) this.dropped.push(this.#before++);
    for (let n = 0; n < insert; n++) this.inserted.push(this.#after++);
  }
}

/** A run of the new array: old elements from `from` on, or inserted ones (`from` = −1). */
interface Segment {
  from: number;
  length: number;
}

/** The splices of a turn, composed: old elements never change their order. */
export class SpliceLog {
  readonly #beforeLength: number;
  #segments: Segment[];

  constructor(beforeLength: number) {
    this.#beforeLength = beforeLength;
    this.#segments = beforeLength === 0 ? [] : [{ from: 0, length: beforeLength }];
  }

  /** @returns false when there were too many: the log is then of no use. */
  splice(start: number, drop: number, insert: number): boolean {
    const last = this.#segments.at(-1);
    const after: Segment[] = [];
    let at = 0;
    let placed = false;
    if (last?.from === -1 && drop === 0 && start === this.length) {
      last.length += insert; // push after push
      return true;
    }
    for (const { from, length } of this.#segments) {
      const before = Math.min(Math.max(start - at, 0), length);
      const cutEnd = Math.min(Math.max(start + drop - at, before), length);
      if (before > 0) append(after, from, before);
      if (!placed && at + length >= start) {
        placed = true;
        append(after, -1, insert);
      }
      if (cutEnd < length) append(after, from < 0 ? from : from + cutEnd, length - cutEnd);
      at += length;
    }
    if (!placed) append(after, -1, insert);
    this.#segments = after;
    return after.length <= SEGMENTS_MAX;
  }

  get length(): number {
    let length = 0;
    for (const segment of this.#segments) length += segment.length;
    return length;
  }

  edits(): ArrayEdits {
    const edits = new EditsBuilder();
    let next = 0;
    let insert = 0;
    for (const { from, length } of this.#segments) {
      if (from < 0) {
        insert += length;
        continue;
      }
      edits.replace(from - next, insert);
      edits.keep(length);
      next = from + length;
      insert = 0;
    }
    edits.replace(this.#beforeLength - next, insert);
    return edits;
  }
}

/** Adds a run, joined with the one before where they follow each other. */
function append(segments: Segment[], from: number, length: number): void {
  if (length === 0) return;
  const last = segments.at(-1);
  const joins =
    last !== undefined &&
    (from < 0 ? last.from < 0 : last.from >= 0 && last.from + last.length === from);
  if (joins) last.length += length;
  else segments.push({ from, length });
}

/**
 * The edits found by a walk over both arrays that, where they part, looks ahead for the place where they meet again. Right
 * for any two arrays, short for the usual changes.
 */
export function diffArrays(before: readonly unknown[], after: readonly unknown[]): ArrayEdits {
  const edits = new EditsBuilder();
  let longSearches = LONG_SEARCHES_MAX;
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && Object.is(before[i], after[j])) {
      edits.keep(1);
      i++;
      j++;
      continue;
    }
    let [drop, insert] = untilTheyMeet(before, i, after, j);
    if (drop === LOOK_AHEAD && insert === LOOK_AHEAD && longSearches-- > 0) {
      const far = before.indexOf(after[j], i);
      if (far >= 0 && far + 1 < before.length && Object.is(before[far + 1], after[j + 1])) {
        drop = far - i;
        insert = 0;
      }
    }
    edits.replace(drop, insert);
    i += drop;
    j += insert;
  }
  return edits;
}

/** How many elements to drop and to insert until the arrays agree again, or as far as they go. */
function untilTheyMeet(
  before: readonly unknown[],
  i: number,
  after: readonly unknown[],
  j: number,
): [drop: number, insert: number] {
  const left = before.length - i;
  const right = after.length - j;
  if (left === 0) return [0, right];
  if (right === 0) return [left, 0];
  for (let ahead = 1; ahead <= LOOK_AHEAD; ahead++) {
    // Replaced in place first: what most index assignments are.
    if (ahead < left && ahead < right && Object.is(before[i + ahead], after[j + ahead]))
      return [ahead, ahead];
    if (ahead < left && Object.is(before[i + ahead], after[j])) return [ahead, 0];
    if (ahead < right && Object.is(before[i], after[j + ahead])) return [0, ahead];
  }
  const step = Math.min(LOOK_AHEAD, left, right);
  return [step, step];
}
