import { isPinionError } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  describeFlushPolicy,
  FLUSH_POLICY_FORMS,
  flushPolicy,
  parseFlushPolicy,
} from "./flush-policy.ts";

function errorOf(run: () => unknown): string {
  try {
    run();
  } catch (e) {
    if (isPinionError(e, "config-invalid")) return e.message;
    throw e;
  }
  throw new Error("nothing was thrown");
}

describe("a flush policy", () => {
  it("lets replies go at once only where it says so", () => {
    const { group, sync, batched, batchedOrPeriodic, periodic, async: asynchronous } = flushPolicy;
    const waiting = [group, sync, batched(5), batchedOrPeriodic(5, 5)];
    expect(waiting.map(({ replyWaits }) => replyWaits)).toEqual([true, true, true, true]);
    expect([periodic(5), asynchronous].map(({ replyWaits }) => replyWaits)).toEqual([false, false]);
  });

  it("reads back from the text that describes it", () => {
    for (const form of FLUSH_POLICY_FORMS) {
      const policy = parseFlushPolicy(form);
      expect(parseFlushPolicy(describeFlushPolicy(policy))).toEqual(policy);
    }
  });

  it("is read whatever the case and spacing, and times in ms or s", () => {
    expect(parseFlushPolicy("  Group ")).toEqual(flushPolicy.group);
    expect(parseFlushPolicy("BATCHED( 100 )")).toEqual(flushPolicy.batched(100));
    expect(parseFlushPolicy("batchedorperiodic(1000,2s)")).toEqual(
      flushPolicy.batchedOrPeriodic(1000, 2000),
    );
    expect(parseFlushPolicy("periodic(5 ms)")).toEqual(flushPolicy.periodic(5));
  });

  it("says what is wrong with a text that is none, and what would be right", () => {
    expect(errorOf(() => parseFlushPolicy("grupp"))).toMatch(
      /unknown flush policy "grupp".*batched\(100\)/,
    );
    expect(errorOf(() => parseFlushPolicy("batched"))).toMatch(/takes 1 argument, not 0/);
    expect(errorOf(() => parseFlushPolicy("group(5)"))).toMatch(/takes 0 arguments, not 1/);
    expect(errorOf(() => parseFlushPolicy("batched(many)"))).toMatch(
      /"many".*not a number of records/,
    );
    expect(errorOf(() => parseFlushPolicy("periodic(5)"))).toMatch(/"5".*write it as 5ms/);
    expect(errorOf(() => parseFlushPolicy("__proto__"))).toMatch(/unknown flush policy/);
  });

  it("refuses numbers out of range, naming the range", () => {
    expect(errorOf(() => flushPolicy.batched(0))).toMatch(
      /0 records is out of range.*1 to 1000000/,
    );
    expect(errorOf(() => flushPolicy.batched(1.5))).toMatch(/out of range/);
    expect(errorOf(() => flushPolicy.periodic(60_001))).toMatch(/1 to 60000/);
    expect(errorOf(() => parseFlushPolicy("batchedOrPeriodic(5, 61s)"))).toMatch(/61000 ms/);
  });

  it("is never made from noise without a typed error", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseFlushPolicy(text);
        } catch (e) {
          expect(isPinionError(e, "config-invalid")).toBe(true);
        }
      }),
    );
  });
});
