import { seededRng } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ArcPolicy } from "./arc-policy.ts";
import type { AdmissionHint, CachePolicy, MakePolicy } from "./cache-policy.ts";
import { KeyIndex, NO_SLOT } from "./key-index.ts";
import { S3FifoPolicy } from "./s3-fifo-policy.ts";
import { STEERED_DEFAULTS, SteeredPolicy } from "./steered-policy.ts";

const POLICIES: Readonly<Record<string, MakePolicy>> = {
  arc: (capacity, onEvict) => new ArcPolicy(capacity, onEvict),
  "s3-fifo": (capacity, onEvict) => new S3FifoPolicy(capacity, onEvict),
  steered: (capacity, onEvict) => new SteeredPolicy(capacity, onEvict),
};

/** ARC as the paper writes it, on arrays; the newest is last. Says what it evicts. */
class NaiveArc {
  lists: Record<"t1" | "t2" | "b1" | "b2", number[]> = { t1: [], t2: [], b1: [], b2: [] };
  p = 0;
  readonly c: number;
  evicted: number[] = [];

  constructor(c: number) {
    this.c = c;
  }

  replace(inB2: boolean): void {
    const { t1, t2, b1, b2 } = this.lists;
    const fromT1 = t1.length > 0 && ((inB2 && t1.length === this.p) || t1.length > this.p);
    const key = (fromT1 ? t1 : t2).shift()!;
    (fromT1 ? b1 : b2).push(key);
    this.evicted.push(key);
  }

  take(list: number[], key: number): boolean {
    const at = list.indexOf(key);
    if (at >= 0) list.splice(at, 1);
    return at >= 0;
  }

  access(key: number): boolean {
    const { t1, t2, b1, b2 } = this.lists;
    if (this.take(t1, key) || this.take(t2, key)) {
      t2.push(key);
      return true;
    }
    if (b1.includes(key) || b2.includes(key)) {
      const inB2 = b2.includes(key);
      this.p = inB2
        ? Math.max(0, this.p - Math.max(1, b1.length / b2.length))
        : Math.min(this.c, this.p + Math.max(1, b2.length / b1.length));
      this.replace(inB2);
      this.take(inB2 ? b2 : b1, key);
      t2.push(key);
      return false;
    }
    if (t1.length + b1.length === this.c) {
      if (t1.length < this.c) {
        b1.shift();
        this.replace(false);
      } else this.evicted.push(t1.shift()!);
    } else if (t1.length + t2.length + b1.length + b2.length >= this.c) {
      if (t1.length + t2.length + b1.length + b2.length === 2 * this.c) b2.shift();
      this.replace(false);
    }
    t1.push(key);
    return false;
  }
}

/** Small ones come back often, so that all four lists are in use. */
const keys = fc.array(fc.oneof(fc.nat({ max: 12 }), fc.nat({ max: 40 }), fc.nat({ max: 200 })), {
  minLength: 100,
  maxLength: 600,
});

test("ARC does what the paper says, key by key", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), keys, (capacity, accesses) => {
      const evicted: number[] = [];
      const arc = new ArcPolicy(capacity, (key) => evicted.push(key));
      const naive = new NaiveArc(capacity);
      for (const key of accesses) {
        expect(arc.access(key)).toBe(naive.access(key));
        const { t1, t2, b1, b2 } = arc.sizes();
        const { lists } = naive;
        expect([t1, t2, b1, b2]).toEqual(
          [lists.t1, lists.t2, lists.b1, lists.b2].map((l) => l.length),
        );
        expect(t1 + t2).toBeLessThanOrEqual(capacity);
        expect(t1 + b1).toBeLessThanOrEqual(capacity);
        expect(t1 + t2 + b1 + b2).toBeLessThanOrEqual(2 * capacity);
      }
      expect(evicted).toEqual(naive.evicted);
    }),
  );
});

describe.each(Object.entries(POLICIES))("%s", (_name, make) => {
  test("what it says is resident is what was accessed and not evicted, never too much", () => {
    const command = fc.oneof(
      {
        weight: 20,
        arbitrary: fc.tuple(
          fc.constantFrom("realtime", "interactive", "batch"),
          fc.nat({ max: 80 }),
        ),
      },
      { weight: 1, arbitrary: fc.tuple(fc.constant("remove"), fc.nat({ max: 80 })) },
      { weight: 1, arbitrary: fc.tuple(fc.constant("evict"), fc.constant(0)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant("resize"), fc.integer({ min: 1, max: 40 })) },
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.array(command, { maxLength: 500 }),
        (capacity, commands) => {
          const resident = new Set<number>();
          const policy = make(capacity, (key) => expect(resident.delete(key)).toBe(true));
          let most = capacity;
          for (const [what, n] of commands) {
            if (what === "remove") {
              policy.remove(n);
              resident.delete(n);
            } else if (what === "evict") {
              const had = resident.size > 0;
              expect(policy.evict()).toBe(had);
            } else if (what === "resize") policy.resize((most = n));
            else {
              expect(policy.access(n, what as AdmissionHint)).toBe(resident.has(n));
              resident.add(n);
              expect(policy.has(n)).toBe(true);
            }
            expect(policy.size).toBe(resident.size);
            expect(policy.size).toBeLessThanOrEqual(most);
            const { t1, t2 } = policy.sizes();
            expect(t1 + t2).toBe(policy.size);
          }
          for (let key = 0; key <= 80; key++) expect(policy.has(key)).toBe(resident.has(key));
        },
      ),
    );
  });

  test("keys may be as large as integers are exact", () => {
    const policy = make(10, () => {});
    for (let i = 0; i < 10; i++) policy.access(Number.MAX_SAFE_INTEGER - i);
    for (let i = 0; i < 10; i++) expect(policy.access(Number.MAX_SAFE_INTEGER - i)).toBe(true);
  });

  test("pages that are read often survive a scan of ten times the cache", () => {
    const policy = make(1000, () => {});
    for (let round = 0; round < 10; round++) for (let key = 0; key < 500; key++) policy.access(key);
    for (let key = 10_000; key < 20_000; key++) policy.access(key);
    let kept = 0;
    for (let key = 0; key < 500; key++) if (policy.has(key)) kept++;
    expect(kept).toBeGreaterThan(400);
  });
});

/** Hit rate of a policy over a loop that is a little too long for LRU, with hot pages in between. */
function hitRate(policy: CachePolicy, length: number): number {
  const rng = seededRng(5);
  let hits = 0;
  for (let i = 0; i < length; i++)
    if (policy.access(rng.chance(0.3) ? rng.below(300) : 1000 + (i % 1500))) hits++;
  return hits / length;
}

test("the policy follows the setting that the load wants", () => {
  const alone = (t1Share: number): CachePolicy =>
    new SteeredPolicy(1000, () => {}, {
      ...STEERED_DEFAULTS,
      settings: [{ t1Share, ghostShare: 0.9 }],
      start: 0,
    });
  const shares = STEERED_DEFAULTS.settings.map(({ t1Share }) => t1Share);
  const rates = shares.map((share) => hitRate(alone(share), 200_000));
  const policy = new SteeredPolicy(1000, () => {});
  const rate = hitRate(policy, 200_000);
  expect(Math.max(...rates) - Math.min(...rates)).toBeGreaterThan(0.03);
  expect(rate).toBeGreaterThan(Math.max(...rates) - 0.02);
  expect(shares.map((share) => Math.abs(share - policy.sizes().t1Target) < 0.02)).toContain(true);
});

test("batch reads leave the pages that others read alone, and no trace", () => {
  const policy = new SteeredPolicy(1000, () => {});
  for (let round = 0; round < 5; round++) for (let key = 0; key < 900; key++) policy.access(key);
  for (let round = 0; round < 3; round++)
    for (let key = 5_000; key < 9_000; key++) policy.access(key, "batch");
  let kept = 0;
  for (let key = 0; key < 900; key++) if (policy.has(key)) kept++;
  expect(kept).toBeGreaterThan(850);
  expect(policy.sizes().t1).toBeLessThan(150);
  // Had it been remembered, it would not be on probation now.
  expect(policy.has(8_500)).toBe(false);
  const { t1, t2 } = policy.sizes();
  policy.access(8_500);
  expect(policy.sizes().t2).toBeLessThanOrEqual(t2);
  expect(policy.sizes().t1 + policy.sizes().t2).toBe(t1 + t2);
});

test("a realtime read is kept as if it had been read twice", () => {
  const policy = new SteeredPolicy(100, () => {});
  policy.access(1, "realtime");
  policy.access(2);
  expect(policy.sizes()).toMatchObject({ t1: 1, t2: 1 });
  policy.access(2, "realtime");
  expect(policy.sizes()).toMatchObject({ t1: 0, t2: 2 });
});

test("the index finds what is in it, whatever was added and removed", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), fc.nat({ max: 40 }), fc.constantFrom(0, 2 ** 32, 2 ** 52)), {
        maxLength: 400,
      }),
      (commands) => {
        const table = new Float64Array(50);
        const index = new KeyIndex(table);
        const slots = new Map<number, number>();
        const free = Array.from({ length: 50 }, (_, i) => i);
        for (const [adds, low, high] of commands) {
          const key = low + high;
          const slot = slots.get(key);
          if (adds && slot === undefined && free.length > 0) {
            const taken = free.pop()!;
            table[taken] = key;
            index.add(taken);
            slots.set(key, taken);
          } else if (!adds && slot !== undefined) {
            index.remove(slot);
            slots.delete(key);
            free.push(slot);
          }
          for (let n = 0; n <= 40; n++)
            for (const h of [0, 2 ** 32, 2 ** 52])
              expect(index.find(n + h)).toBe(slots.get(n + h) ?? NO_SLOT);
        }
      },
    ),
    { numRuns: 30 },
  );
});
