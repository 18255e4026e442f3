/** Order of positions in the physical log. */
import type { LogPosition } from "./log.ts";

/** Before everything: no segment has the sequence 0. */
export const LOG_START: LogPosition = Object.freeze({ segment: 0, offset: 0 });

/** Negative when `a` comes before `b`, 0 when they are the same place. */
export function comparePositions(a: LogPosition, b: LogPosition): number {
  return a.segment === b.segment ? a.offset - b.offset : a.segment - b.segment;
}

export function laterPosition(a: LogPosition, b: LogPosition): LogPosition {
  return comparePositions(a, b) >= 0 ? a : b;
}

export function describePosition(p: LogPosition): string {
  return `segment ${p.segment} offset ${p.offset}`;
}
