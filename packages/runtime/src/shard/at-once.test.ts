import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { atOnce } from "./at-once.ts";

test("some at a time, all of them, answered in order", async () => {
  let running = 0;
  let most = 0;
  const answers = await atOnce([5, 1, 4, 2, 3], 2, async (n) => {
    most = Math.max(most, ++running);
    for (let i = 0; i < n; i++) await setImmediate();
    running--;
    return n * 10;
  });
  expect(answers).toEqual([50, 10, 40, 20, 30]);
  expect(most).toBe(2);
});

test("a failure is told when what was begun has ended, and nothing is begun after it", async () => {
  const begun: number[] = [];
  const ended: number[] = [];
  const all = atOnce([1, 2, 3, 4], 2, async (n) => {
    begun.push(n);
    if (n === 1) throw new Error("one");
    for (let i = 0; i < 5; i++) await setImmediate();
    ended.push(n);
  });
  await expect(all).rejects.toThrow("one");
  expect([begun, ended]).toEqual([[1, 2], [2]]);
});
