import { describe, expect, it } from "vitest";
import { memoryBudget, resolveMemoryBudgetOptions } from "./memory-budget.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const DEMANDS = {
  limitBytes: 16 * GIB,
  lockableBytes: Infinity,
  workers: 2,
  heapBytesPerWorker: 2 * GIB,
  bufferBytes: 256 * MIB,
  indexBytes: 64 * MIB,
};

describe("the memory budget", () => {
  it("takes off what is not ours to divide, and divides the rest", () => {
    const budget = memoryBudget(DEMANDS);
    const usable =
      16 * GIB - 4 * GIB - 320 * MIB - Math.ceil(16 * GIB * 0.002) - Math.ceil(16 * GIB * 0.1);
    expect(budget).toMatchObject({
      usableBytes: usable,
      pinBytes: Math.floor(usable * 0.4),
      lockBytes: Math.floor(usable * 0.4),
      overlayBytes: Math.floor(usable * 0.1),
      notes: [],
    });
    expect(budget.pinBytes + budget.overlayBytes + budget.poolBytes).toBe(usable);
  });

  it("keeps at least 512 MiB free", () => {
    expect(memoryBudget({ ...DEMANDS, limitBytes: 3 * GIB }).headroomBytes).toBe(512 * MIB);
    expect(memoryBudget({ ...DEMANDS, limitBytes: 20 * GIB }).headroomBytes).toBe(2 * GIB);
  });

  it("says when nothing is left, and when locks are limited", () => {
    const none = memoryBudget({ ...DEMANDS, limitBytes: 2 * GIB });
    expect(none).toMatchObject({ usableBytes: 0, pinBytes: 0, poolBytes: 0 });
    expect(none.notes[0]).toContain("of 2048 MiB the heaps may take 4096 MiB");
    const locked = memoryBudget({ ...DEMANDS, lockableBytes: 8 * MIB });
    expect(locked.lockBytes).toBe(8 * MIB);
    expect(locked.pinBytes).toBeGreaterThan(GIB);
    expect(locked.notes[0]).toContain("RLIMIT_MEMLOCK");
  });

  it("leaves the pool its tenth", () => {
    const options = resolveMemoryBudgetOptions({ pinShare: 0.8, overlayShare: 0.1 });
    const budget = memoryBudget(DEMANDS, options);
    expect(budget.poolBytes / budget.usableBytes).toBeCloseTo(0.1, 6);
    expect(Object.isFrozen(options)).toBe(true);
    expect(() => resolveMemoryBudgetOptions({ pinShare: 0.85, overlayShare: 0.1 })).toThrow(
      "memory.pinShare + memory.overlayShare",
    );
    expect(() => resolveMemoryBudgetOptions({ pinShare: Number.NaN })).toThrow(
      "memory.pinShare is NaN",
    );
  });
});
