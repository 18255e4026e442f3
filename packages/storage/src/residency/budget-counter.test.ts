import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { BudgetCounter } from "./budget-counter.ts";

const PAGE = 4096;

describe("a budget for several workers", () => {
  it("grants what there is, and no more, over all workers", () => {
    const counter = BudgetCounter.create(10 * PAGE, 2);
    const [a, b] = [counter.open(0), counter.open(1)];
    expect(a.reserveUpTo(7 * PAGE)).toBe(7 * PAGE);
    expect(b.reserveUpTo(7 * PAGE)).toBe(3 * PAGE);
    expect(a.reserveUpTo(1)).toBe(0);
    expect(a.usedBytes).toBe(10 * PAGE);
    b.release(3 * PAGE);
    expect(a.reserveUpTo(2 * PAGE)).toBe(2 * PAGE);
    a.release(9 * PAGE);
    expect(counter.usedBytes).toBe(0);
    expect(() => a.release(1)).toThrow("given back");
  });

  it("counts whole pages, and lets them come and go in any parts", () => {
    const counter = BudgetCounter.create(10 * PAGE, 1);
    const budget = counter.open(0);
    expect(budget.reserveUpTo(100)).toBe(100);
    expect(budget.reserveUpTo(100)).toBe(100);
    expect(counter.usedBytes).toBe(PAGE);
    expect(budget.reserveUpTo(20 * PAGE)).toBe(10 * PAGE - 200);
    for (const part of [50, PAGE, 149]) budget.release(part);
    expect(counter.usedBytes).toBe(9 * PAGE);
    budget.release(10 * PAGE - 50 - PAGE - 149);
    expect(counter.usedBytes).toBe(0);
  });

  it("grants nothing while more is used than a lowered limit allows", () => {
    const counter = BudgetCounter.create(10 * PAGE, 1);
    const budget = counter.open(0);
    budget.reserveUpTo(8 * PAGE);
    counter.setLimit(5 * PAGE + 1);
    expect(budget).toMatchObject({ limitBytes: 5 * PAGE, overBytes: 3 * PAGE });
    expect(budget.reserveUpTo(PAGE)).toBe(0);
    budget.release(4 * PAGE);
    expect(budget.reserveUpTo(4 * PAGE)).toBe(PAGE);
  });

  it("counts a limit beyond what its words hold as the most they hold", () => {
    expect(BudgetCounter.create(2 ** 60, 1).limitBytes).toBe((2 ** 31 - 1) * PAGE);
    expect(BudgetCounter.create(-1, 1).limitBytes).toBe(0);
  });

  it("asks a worker for what it has beyond its fair part and others lack, less what is free", () => {
    const counter = BudgetCounter.create(12 * PAGE, 3);
    const a = counter.open(0);
    expect(a.fairBytes).toBe(12 * PAGE);
    const b = counter.open(1);
    expect(a.fairBytes).toBe(6 * PAGE);
    a.reserveUpTo(11 * PAGE);
    expect(a.owedBytes).toBe(0);
    b.want(3 * PAGE);
    expect(a.owedBytes).toBe(2 * PAGE);
    expect(b.owedBytes).toBe(0);
    b.want(100 * PAGE);
    expect(a.owedBytes).toBe(5 * PAGE);
    b.want(0);
    expect(a.owedBytes).toBe(0);
  });

  it("takes back what is too much when another worker comes in between", () => {
    const counter = BudgetCounter.create(10 * PAGE, 2);
    const [a, b] = [counter.open(0), counter.open(1)];
    const { add } = Atomics;
    let theirs = 0;
    const between = vi.spyOn(Atomics, "add").mockImplementation((...args) => {
      between.mockImplementation(add);
      theirs = b.reserveUpTo(8 * PAGE);
      return add(...args);
    });
    onTestFinished(() => between.mockRestore());
    expect(a.reserveUpTo(8 * PAGE)).toBe(2 * PAGE);
    expect(theirs).toBe(8 * PAGE);
    expect(counter.usedBytes).toBe(10 * PAGE);
  });

  it("holds with worker threads that race, and gives back what one had that died", async () => {
    const workers = 3;
    const limit = 100 * PAGE;
    const counter = BudgetCounter.create(limit, workers);
    const witness = new SharedArrayBuffer(8);
    const url = new URL("./budget-counter.worker.test.fixture.ts", import.meta.url);
    const threads = Array.from({ length: workers }, (_, worker) => {
      const workerData = {
        shared: counter.shared,
        witness,
        worker,
        seed: worker + 1,
        rounds: 150_000,
      };
      return new Worker(url, { workerData, execArgv: ["--conditions=source"] });
    });
    const kept = await Promise.all(
      threads.map(async (thread) => ((await once(thread, "message")) as [number])[0]),
    );
    const seen = new Int32Array(witness);
    expect(seen[1]).toBe(0);
    const total = kept.reduce((sum, bytes) => sum + bytes, 0);
    expect(seen[0]! * PAGE).toBe(total);
    expect(counter.usedBytes).toBe(total);
    await threads[1]!.terminate();
    expect(counter.reclaim(1)).toBe(kept[1]);
    expect(counter.usedBytes).toBe(total - kept[1]!);
    expect(counter.fairBytes).toBe(limit / 2);
    await Promise.all(threads.map((thread) => thread.terminate()));
  });
});
