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
      const wanted = Math.min(missing, borrowed[victims]);
      for (const candidate of coldest(facts.candidates(victims), inUse, wanted)) {
        chosen.push(candidate);
        borrowed[victims] -= candidate.bytes;
        missing -= candidate.bytes;
      }
      if (missing <= 0) return chosen;
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
      for (const candidate of coldest(candidates(victims), inUse, missing)) {
        chosen.push(candidate);
        missing -= candidate.bytes;
      }
    }
  }
  return chosen;
}

/** More than this are sorted; up to this, one pass over the candidates finds them. */
const SELECTED_MAX = 64;

/**
 * The fewest candidates that have `byteCount` together, coldest first; all there are if they have less. Usually a few are sought among
 * many thousands while somebody waits, so not all are sorted.
 */
function coldest<C extends Candidate>(
  candidates: Iterable<C>,
  referenced: boolean,
  byteCount: number,
): C[] {
  if (byteCount <= 0) return [];
  const chosen: C[] = [];
  let bytes = 0;
  for (const candidate of candidates) {
    if (candidate.referenced !== referenced) continue;
    const last = chosen.at(-1);
    if (bytes >= byteCount && last !== undefined && candidate.heatRank >= last.heatRank) continue;
    let at = chosen.length;
    while (at > 0 && chosen[at - 1]!.heatRank > candidate.heatRank) at--;
    chosen.splice(at, 0, candidate);
    bytes += candidate.bytes;
    while (bytes - chosen.at(-1)!.bytes >= byteCount) bytes -= chosen.pop()!.bytes;
    if (chosen.length > SELECTED_MAX) return coldestOfAll(candidates, referenced, byteCount);
  }
  return chosen;
}

function coldestOfAll<C extends Candidate>(
  candidates: Iterable<C>,
  referenced: boolean,
  byteCount: number,
): C[] {
  const sorted: C[] = [];
  for (const candidate of candidates) {
    if (candidate.referenced === referenced) sorted.push(candidate);
  }
  sorted.sort((a, b) => a.heatRank - b.heatRank);
  let count = 0;
  for (let bytes = 0; bytes < byteCount && count < sorted.length; count++) {
    bytes += sorted[count]!.bytes;
  }
  return sorted.slice(0, count);
}
