import { isPinionError, seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import {
  attributesProblem,
  decodeFacts,
  encodeFacts,
  flagsProblem,
  linkProblem,
  LINK_KINDS,
  LINKS_MAX,
  NO_FACTS,
  storedFacts,
  withLink,
  withoutLink,
  type ExtentFacts,
} from "./extent-facts.ts";

const maybe = <T>(rng: Rng, value: T): T | undefined => (rng.chance(0.5) ? value : undefined);
const NAMES = ["a", "delays", "x".repeat(64), "größe", "b-2", "c", "d", "e"];

function factsOf(rng: Rng): ExtentFacts {
  const fromMs = rng.pick([0, -1.5, 1e12, -1e300]);
  let facts: ExtentFacts = {
    flags: {
      hot: rng.chance(0.5),
      prefetch: rng.chance(0.5),
      hugePages: rng.pick([true, false, undefined]),
      numaNode: maybe(rng, rng.pick([0, 1, 1_023])),
    },
    attributes: {
      rowGroup: maybe(rng, rng.pick([0, 1, Number.MAX_SAFE_INTEGER])),
      partition: maybe(rng, rng.below(100)),
      timeBucket: maybe(rng, { fromMs, toMs: fromMs + rng.pick([0.5, 1e300]) }),
    },
    links: [],
  };
  if (attributesProblem(facts.attributes) !== undefined) return factsOf(rng);
  for (let left = rng.below(12); left > 0; left--) {
    const weight = rng.pick([1, 0.5, 0.1, 1e-9]);
    facts = withLink(facts, "z", { kind: rng.pick(LINK_KINDS), to: rng.pick(NAMES), weight });
  }
  return facts;
}

describe("facts of an extent", () => {
  it("come out as they went in, and those that say nothing are no bytes", () => {
    const rng = seededRng(1);
    for (let i = 0; i < 1_000; i++) {
      const facts = factsOf(rng);
      expect(decodeFacts(encodeFacts(facts))).toEqual(facts);
    }
    expect(encodeFacts(NO_FACTS)).toHaveLength(0);
    expect(decodeFacts(new Uint8Array(0))).toBe(NO_FACTS);
  });

  it("are exactly what was written, or refused (F1)", () => {
    const rng = seededRng(2);
    let refused = 0;
    for (let i = 0; i < 5_000; i++) {
      let bytes = Uint8Array.from(encodeFacts(factsOf(rng)));
      if (bytes.length === 0) continue;
      const damage = rng.below(5);
      if (damage === 0) bytes = bytes.subarray(0, rng.below(bytes.length));
      else if (damage === 1) bytes = Uint8Array.of(...bytes, 0);
      else bytes[rng.below(bytes.length)] = rng.below(256);
      try {
        const facts = decodeFacts(bytes);
        expect(Buffer.compare(encodeFacts(facts), bytes)).toBe(0);
      } catch (e) {
        if (!isPinionError(e, "corruption") && !isPinionError(e, "format-too-new")) throw e;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1_000);
  });

  it("of a newer version are refused as such, naming actor and extent", () => {
    const bytes = encodeFacts({ ...NO_FACTS, flags: { ...NO_FACTS.flags, hot: true } });
    bytes[0] = 2;
    const thrown = (): unknown => {
      try {
        return storedFacts("main@main:thing/1", "delays", bytes);
      } catch (e) {
        return e;
      }
    };
    expect(thrown()).toMatchObject({
      code: "format-too-new",
      details: { actor: "main@main:thing/1", extent: "delays" },
    });
    bytes.set([1, 8]);
    expect(thrown()).toMatchObject({
      code: "corruption",
      message: expect.stringContaining('extent "delays" of main@main:thing/1') as string,
    });
  });

  it("have a bounded number of connections, one for each kind and extent", () => {
    let facts: ExtentFacts = NO_FACTS;
    const to = (i: number) => ({ kind: "next", to: `e${i}`, weight: 1 }) as const;
    for (let i = 0; i < LINKS_MAX; i++) facts = withLink(facts, "z", to(i));
    expect(() => withLink(facts, "z", to(LINKS_MAX))).toThrow(/16 connections/);
    const again = withLink(facts, "z", { ...to(3), weight: 0.5 });
    expect(again.links).toHaveLength(LINKS_MAX);
    expect(again.links[3]?.weight).toBe(0.5);
    expect(withoutLink(again, "e3", "previous")).toBe(again);
    expect(withoutLink(again, "e3", undefined).links).toHaveLength(LINKS_MAX - 1);
  });

  it("have to mean something", () => {
    const { flags, attributes } = NO_FACTS;
    expect(flagsProblem({ ...flags, numaNode: 1_024 })).toMatch(/numaNode/);
    expect(flagsProblem({ ...flags, hot: 1 as never })).toMatch(/hot/);
    expect(attributesProblem({ ...attributes, partition: -1 })).toMatch(/partition/);
    expect(attributesProblem({ ...attributes, timeBucket: { fromMs: 1, toMs: NaN } })).toMatch(
      /time bucket/,
    );
    for (const weight of [0, -1, 1.1, NaN, 1e-60, "1" as never])
      expect(linkProblem({ kind: "next", to: "a", weight })).toMatch(/weight/);
  });
});
