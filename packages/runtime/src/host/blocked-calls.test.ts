import { VirtualClock } from "@pinion/core";
import { MemoryCell } from "@pinion/placement";
import { expect, test } from "vitest";
import { BlockedCalls, KEPT_MAX, KEPT_MS } from "./blocked-calls.ts";
import type { BoardTurn } from "./turn-board.ts";

const turn = (seq: number, actor = "counter/a"): BoardTurn => ({
  actor,
  method: "spin",
  call: { session: "s", seq, path: "" },
  exact: true,
});
const silent = (): void => {};
const open = (cell: MemoryCell, clock = new VirtualClock(), warn: () => void = silent) =>
  BlockedCalls.open(cell, clock, warn);

test("a call is quarantined the second time, and its next life remembers", async () => {
  const cell = new MemoryCell();
  const calls = await open(cell);
  expect((await calls.count(turn(1))).times).toBe(1);
  expect(calls.poisonedKeys().size).toBe(0);
  const again = await open(cell);
  expect((await again.count(turn(1))).times).toBe(2);
  expect([...again.poisonedKeys()]).toEqual(["s/1"]);
  expect([...(await open(cell)).poisonedKeys()]).toEqual(["s/1"]);
});

test("hooks are counted by actor and hook, calls by their id", async () => {
  const calls = await open(new MemoryCell());
  const hook = { ...turn(1), method: "onActivate", call: undefined };
  await calls.count(hook);
  await calls.count(hook);
  await calls.count(turn(1));
  expect([...calls.poisonedKeys()]).toEqual(["@hook/onActivate/counter/a"]);
});

test("only the newest are remembered", async () => {
  const cell = new MemoryCell();
  const calls = await open(cell);
  for (let seq = 1; seq <= KEPT_MAX + 5; seq++) await calls.count(turn(seq));
  expect(calls.all()).toHaveLength(KEPT_MAX);
  expect(calls.all()[0]?.key).toBe("s/6");
});

test("what is older than any retry is forgotten", async () => {
  const clock = new VirtualClock();
  const cell = new MemoryCell();
  const calls = await open(cell, clock);
  await calls.count(turn(1));
  clock.jumpWall(KEPT_MS / 2);
  await calls.count(turn(2));
  clock.jumpWall(KEPT_MS / 2 + 1);
  expect((await open(cell, clock)).all().map((call) => call.key)).toEqual(["s/2"]);
});

test.each([["{"], [`{"a":1}`]])("a file of %j is set aside and said", async (text) => {
  const cell = new MemoryCell();
  await cell.store(Buffer.from(text));
  let warned = 0;
  const calls = await open(cell, new VirtualClock(), () => warned++);
  expect(warned).toBe(1);
  expect(calls.all()).toEqual([]);
});

test("entries that are not ours are skipped", async () => {
  const cell = new MemoryCell();
  await cell.store(Buffer.from(`[null, 3, {"key":"x"}]`));
  expect((await open(cell)).all()).toEqual([]);
});
