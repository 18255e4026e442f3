import { ERROR_CODES, PinionError, seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { backoffMs, retryDelayMs } from "./retry-policy.ts";

const rng = seededRng(1);
const delayFor = (error: PinionError, attempts = 1, overloads = 0) =>
  retryDelayMs(error, { attempts, overloads }, 5, rng);

describe("the retry policy", () => {
  it("retries four codes, whatever advice the others carry", () => {
    const retried = ERROR_CODES.filter(
      (code) => delayFor(new PinionError(code, "x", { retry: "backoff" })) !== undefined,
    );
    expect(retried).toEqual(["overloaded", "unavailable", "draining", "relocate"]);
  });

  it("follows a first relocate at once, and waits before a second", () => {
    expect(delayFor(new PinionError("relocate", "x"), 1)).toBe(0);
    expect(delayFor(new PinionError("relocate", "x"), 2)).toBeGreaterThan(0);
  });

  it("gives up on an overloaded host after the retries it was told", () => {
    const error = new PinionError("overloaded", "x");
    expect(delayFor(error, 5, 5)).toBeDefined();
    expect(delayFor(error, 6, 6)).toBeUndefined();
  });

  it("waits as long as the host asks, within reason, and a random while more", () => {
    const after = (retryAfterMs: number) =>
      delayFor(new PinionError("unavailable", "x", { retryAfterMs })) as number;
    for (let i = 0; i < 100; i++) {
      expect(after(500)).toBeGreaterThan(500);
      expect(after(500)).toBeLessThanOrEqual(520);
    }
    expect(after(1e9)).toBeLessThan(61_000);
  });

  it("spreads delays over the whole range below a bound that doubles up to its maximum", () => {
    for (const [failures, boundMs] of [
      [1, 50],
      [2, 100],
      [5, 800],
      [30, 5_000],
      [10_000, 5_000],
    ] as const) {
      const delays = Array.from({ length: 500 }, () => backoffMs(failures, 50, 5_000, rng));
      expect(Math.max(...delays)).toBeLessThanOrEqual(boundMs);
      expect(Math.max(...delays)).toBeGreaterThan(boundMs * 0.9);
      expect(Math.min(...delays)).toBeLessThan(boundMs * 0.1);
      expect(Math.min(...delays)).toBeGreaterThan(0);
    }
  });
});
