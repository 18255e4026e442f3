/**
 * What of an old array is kept in a new one: a walk over both from the start that, where they part, looks a little ahead
 * for the place where they meet again. It finds appends, removals at either end, single splices and replaced elements;
 * whatever else happened is described correctly, if not shortly. Linear in the window given.
 *
 * Elements are the same when `Object.is` says so: containers by identity, since a committed container stands at one place.
 */

/** How far ahead the two are compared where they part. */
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

/**
 * @param prefix elements at the start known to be the same.
 * @param suffix elements at the end known to be the same.
 */
export function diffArrays(
  before: readonly unknown[],
  after: readonly unknown[],
  prefix: number,
  suffix: number,
): ArrayEdits {
  const edits = { runs: [] as number[], inserted: [] as number[], dropped: [] as number[] };
  const beforeEnd = before.length - suffix;
  const afterEnd = after.length - suffix;
  let i = prefix;
  let j = prefix;
  let kept = prefix;
  let longSearches = LONG_SEARCHES_MAX;
  while (i < beforeEnd || j < afterEnd) {
    if (i < beforeEnd && j < afterEnd && Object.is(before[i], after[j])) {
      i++;
      j++;
      kept++;
      continue;
    }
    let [drop, insert] = untilTheyMeet(before, i, beforeEnd, after, j, afterEnd);
    if (drop === LOOK_AHEAD && insert === LOOK_AHEAD && longSearches-- > 0) {
      const far = before.indexOf(after[j], i);
      if (far >= 0 && far + 1 < beforeEnd && Object.is(before[far + 1], after[j + 1])) {
        drop = far - i;
        insert = 0;
      }
    }
    edits.runs.push(kept, drop, insert);
    for (let n = 0; n < drop; n++) edits.dropped.push(i + n);
    for (let n = 0; n < insert; n++) edits.inserted.push(j + n);
    i += drop;
    j += insert;
    kept = 0;
  }
  return edits;
}

/** How many elements to drop and to insert until the arrays agree again, or as far as they go. */
function untilTheyMeet(
  before: readonly unknown[],
  i: number,
  beforeEnd: number,
  after: readonly unknown[],
  j: number,
  afterEnd: number,
): [drop: number, insert: number] {
  if (i === beforeEnd) return [0, afterEnd - j];
  if (j === afterEnd) return [beforeEnd - i, 0];
  for (let ahead = 1; ahead <= LOOK_AHEAD; ahead++) {
    // Replaced in place first: what most index assignments are.
    if (
      i + ahead < beforeEnd &&
      j + ahead < afterEnd &&
      Object.is(before[i + ahead], after[j + ahead])
    )
      return [ahead, ahead];
    if (i + ahead < beforeEnd && Object.is(before[i + ahead], after[j])) return [ahead, 0];
    if (j + ahead < afterEnd && Object.is(before[i], after[j + ahead])) return [0, ahead];
  }
  const step = Math.min(LOOK_AHEAD, beforeEnd - i, afterEnd - j);
  return [step, step];
}
