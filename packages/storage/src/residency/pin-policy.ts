/**
 * Who gets memory, and who has to make room for it. Pure decisions; `PinManager` carries them out.
 *
 * P1 a class may take more than its share while there is room. What it has beyond its share is borrowed, and is taken back by whoever is
 *    within theirs.
 * P2 a request within its class's share takes back from every class; one beyond it only from lower classes. `none` has no share:
 *    all it has is borrowed, and it makes nobody go.
 * P3 those who go: lowest class first, coldest first in a class, and what a turn is using only when nothing else would do.
 * P4 nobody goes in vain: when it would not be enough, the request is refused and nothing changes.
 *
 * The shares add up to 1. So when a request within its share finds no room, others have borrowed at least what it lacks.
 */
import { PIN_PRIORITIES, rankOf, type PinPriority } from "./pin-types.ts";

export interface ClassPolicy {
  /** Of the budget. */
  readonly share: number;
  /** How long a pin stays in the class without being renewed, ms. */
  readonly maxPinMs: number;
}

export const CLASS_POLICIES: Readonly<Record<PinPriority, ClassPolicy>> = Object.freeze({
  "tail-latency-critical": { share: 0.5, maxPinMs: 5_000 },
  "query-critical": { share: 0.3, maxPinMs: 30_000 },
  background: { share: 0.2, maxPinMs: 300_000 },
  none: { share: 0, maxPinMs: Infinity },
});

export type BytesByPriority = Readonly<Record<PinPriority, number>>;

export interface Candidate {
  readonly bytes: number;
  /** Rank of its heat: lower goes first. */
  readonly heatRank: number;
  /** A turn is using it. */
  readonly referenced: boolean;
}

export interface RoomRequest {
  readonly priority: PinPriority;
  /** All it needs. */
  readonly bytes: number;
  /** What of it could not be reserved. */
  readonly missingBytes: number;
}

export interface RoomFacts<C extends Candidate> {
  /** What the shares are of. */
  readonly fairBytes: number;
  /** Without the request. */
  readonly usedBytes: BytesByPriority;
  /** Bytes that become free without anybody's doing and are promised to nobody. */
  readonly incomingBytes: number;
  /** What may go, in any order. */
  candidates(priority: PinPriority): Iterable<C>;
}

export function shareBytes(priority: PinPriority, fairBytes: number): number {
  return CLASS_POLICIES[priority].share * fairBytes;
}

/** Who makes room for `request`; undefined when there is no way (P4). */
export function makeRoom<C extends Candidate>(
  request: RoomRequest,
  facts: RoomFacts<C>,
): C[] | undefined {
  const { priority, bytes } = request;
  let missing = request.missingBytes - facts.incomingBytes;
  if (missing <= 0) return [];
  if (priority === "none") return undefined;
  const { fairBytes, usedBytes } = facts;
  const within = usedBytes[priority] + bytes <= shareBytes(priority, fairBytes);
  const chosen: C[] = [];
  const borrowed = { ...usedBytes };
  for (const each of PIN_PRIORITIES) borrowed[each] -= shareBytes(each, fairBytes);
  for (const inUse of [false, true]) {
    for (const victims of PIN_PRIORITIES.toReversed()) {
      if (victims === priority || (!within && rankOf(victims) < rankOf(priority))) continue;
      for (const candidate of byHeat(facts.candidates(victims), inUse)) {
        if (borrowed[victims] <= 0) break;
        chosen.push(candidate);
        borrowed[victims] -= candidate.bytes;
        missing -= candidate.bytes;
        if (missing <= 0) return chosen;
      }
    }
  }
  return undefined;
}

/** Who goes so that at least `byteCount` become free, or all there is, from `none` up to `upTo` (P3; shares do not count). */
export function shedding<C extends Candidate>(
  byteCount: number,
  upTo: PinPriority,
  candidates: (priority: PinPriority) => Iterable<C>,
): C[] {
  const chosen: C[] = [];
  let missing = byteCount;
  for (const victims of PIN_PRIORITIES.slice(rankOf(upTo)).toReversed()) {
    for (const inUse of [false, true]) {
      for (const candidate of byHeat(candidates(victims), inUse)) {
        if (missing <= 0) return chosen;
        chosen.push(candidate);
        missing -= candidate.bytes;
      }
    }
  }
  return chosen;
}

/** Coldest first. */
function byHeat<C extends Candidate>(candidates: Iterable<C>, referenced: boolean): C[] {
  const found: C[] = [];
  for (const candidate of candidates)
    if (candidate.referenced === referenced) found.push(candidate);
  return found.sort((a, b) => a.heatRank - b.heatRank);
}
