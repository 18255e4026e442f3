import { seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { makeRoom, shareBytes, shedding, type Candidate } from "./pin-policy.ts";
import { PIN_PRIORITIES, rankOf, type PinPriority } from "./pin-types.ts";

interface Named extends Candidate {
  readonly priority: PinPriority;
}

function population(rng: Rng, count: number): Named[] {
  return Array.from({ length: count }, () => ({
    priority: rng.pick(PIN_PRIORITIES),
    bytes: 1 + rng.below(20),
    heatRank: rng.below(50),
    referenced: rng.chance(0.2),
  }));
}

function usage(all: readonly Named[]): Record<PinPriority, number> {
  const used = { "tail-latency-critical": 0, "query-critical": 0, background: 0, none: 0 };
  for (const { priority, bytes } of all) used[priority] += bytes;
  return used;
}

/** The order in which they go, unused ones first when that comes before the class. */
function inOrder(all: readonly Named[], classFirst: boolean): Named[] {
  const byClass = (a: Named, b: Named) => rankOf(b.priority) - rankOf(a.priority);
  const byUse = (a: Named, b: Named) => Number(a.referenced) - Number(b.referenced);
  const [first, second] = classFirst ? [byClass, byUse] : [byUse, byClass];
  return all.toSorted((a, b) => first(a, b) || second(a, b) || a.heatRank - b.heatRank);
}

describe("making room", () => {
  it("agrees with a plain walk over all in order, for few and for many", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const rng = seededRng(seed);
      const all = population(rng, rng.pick([0, 5, 40, 800]));
      const used = usage(all);
      const fairBytes = Object.values(used).reduce((sum, each) => sum + each, 0) + rng.below(20);
      const priority = rng.pick(PIN_PRIORITIES);
      const bytes = 1 + rng.below(Math.max(1, fairBytes / rng.pick([2, 20])));
      const request = { priority, bytes, missingBytes: 1 + rng.below(bytes) };
      const incomingBytes = rng.pick([0, 0, 0, 5, 50]);
      const chosen = makeRoom<Named>(request, {
        fairBytes,
        usedBytes: used,
        incomingBytes,
        candidates: (each) => all.filter((one) => one.priority === each),
      });

      const within = used[priority] + bytes <= shareBytes(priority, fairBytes);
      let missing = request.missingBytes - incomingBytes;
      const expected: Named[] = [];
      const borrowed = { ...used };
      for (const one of inOrder(all, false)) {
        const allowed = within || rankOf(one.priority) > rankOf(priority);
        if (missing <= 0 || priority === "none" || one.priority === priority || !allowed) continue;
        if (borrowed[one.priority] <= shareBytes(one.priority, fairBytes)) continue;
        expected.push(one);
        borrowed[one.priority] -= one.bytes;
        missing -= one.bytes;
      }
      expect(chosen, `seed ${seed}`).toEqual(missing <= 0 ? expected : undefined);
    }
  });

  it("never refuses who is within its share, whoever has the rest", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const rng = seededRng(seed);
      const all = population(rng, 1 + rng.below(100));
      const used = usage(all);
      const fairBytes = Object.values(used).reduce((sum, each) => sum + each, 0);
      const priority = rng.pick(PIN_PRIORITIES.slice(0, 3));
      const room = Math.floor(shareBytes(priority, fairBytes) - used[priority]);
      if (room < 1) continue;
      const chosen = makeRoom<Named>(
        { priority, bytes: room, missingBytes: room },
        {
          fairBytes,
          usedBytes: used,
          incomingBytes: 0,
          candidates: (each) => all.filter((one) => one.priority === each),
        },
      );
      expect(chosen, `seed ${seed}`).toBeDefined();
    }
  });
});

describe("shedding", () => {
  it("agrees with a plain walk, up to the class it may touch", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const rng = seededRng(seed);
      const all = population(rng, rng.pick([0, 5, 40, 800]));
      const upTo = rng.pick(PIN_PRIORITIES);
      const total = all.reduce((sum, each) => sum + each.bytes, 0);
      const byteCount = rng.below(total + 10);
      const expected: Named[] = [];
      let missing = byteCount;
      for (const one of inOrder(all, true)) {
        if (missing <= 0 || rankOf(one.priority) < rankOf(upTo)) continue;
        expected.push(one);
        missing -= one.bytes;
      }
      const those = (each: PinPriority) => all.filter((one) => one.priority === each);
      expect(shedding<Named>(byteCount, upTo, those), `seed ${seed}`).toEqual(expected);
    }
  });
});
