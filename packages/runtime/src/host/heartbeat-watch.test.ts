import { VirtualClock, type Clock } from "@pinion/core";
import { beforeEach, expect, test } from "vitest";
import { BLOCKED_MS, CHECK_MS, HeartbeatWatch } from "./heartbeat-watch.ts";
import { BEAT_MS, createTurnBoard, TurnBoardWriter } from "./turn-board.ts";

let clock: VirtualClock;
let events: string[];
let watch: HeartbeatWatch;
let writer: TurnBoardWriter;
let alive: boolean;

function beatFor(on: Clock): void {
  on.setTimer(BEAT_MS, () => {
    if (alive) writer.beat();
    beatFor(on);
  });
}

beforeEach(() => {
  clock = new VirtualClock();
  events = [];
  alive = true;
  const board = createTurnBoard();
  writer = new TurnBoardWriter(board);
  beatFor(clock);
  watch = new HeartbeatWatch(clock, {
    onBlocked: (worker, { turn }) => events.push(`blocked ${worker} ${turn?.actor ?? "-"}`),
    onStillBlocked: () => events.push("still"),
    onUnblocked: (worker, ms) => events.push(`turns ${worker} ${Math.round(ms / 1000)}`),
  });
  watch.watch(3, board);
  watch.start();
});

test("a worker whose loop turns is never told of", async () => {
  await clock.advance(60_000);
  expect(events).toEqual([]);
  expect(watch.blocked(3)).toBeUndefined();
  expect(watch.silenceMs(3)).toBeLessThan(BEAT_MS + CHECK_MS);
});

test("a blocked one is told once with the turn it is in, then at every check, and when it turns again", async () => {
  writer.enter("counter/a", "spin", undefined);
  alive = false;
  await clock.advance(BLOCKED_MS - BEAT_MS);
  expect(events).toEqual([]);
  await clock.advance(2 * CHECK_MS);
  expect(events[0]).toBe("blocked 3 counter/a");
  await clock.advance(4 * CHECK_MS);
  expect(events.length).toBeGreaterThanOrEqual(5);
  expect(new Set(events.slice(1))).toEqual(new Set(["still"]));
  expect(watch.blocked(3)?.forMs).toBeGreaterThanOrEqual(BLOCKED_MS);
  alive = true;
  await clock.advance(2 * CHECK_MS);
  expect(events.at(-1)).toBe("turns 3 4");
  expect(watch.blocked(3)).toBeUndefined();
});

test("a pause of the machine blames nobody", async () => {
  // The watch's own timer comes late: everything has stood still, the watch included.
  const paused: { fn: () => void }[] = [];
  let nowMs = 0;
  const late: Clock = {
    nowMs: () => nowMs,
    wallMs: () => nowMs,
    setTimer: (_ms, fn) => {
      paused.push({ fn });
      return { cancel: () => {} };
    },
    defer: (fn) => fn(),
  };
  const board = createTurnBoard();
  const own = new HeartbeatWatch(late, {
    onBlocked: () => events.push("blocked"),
    onStillBlocked: () => {},
    onUnblocked: () => {},
  });
  own.watch(0, board);
  own.start();
  nowMs = 60_000;
  paused.shift()?.fn();
  expect(events).toEqual([]);
  // From then on it counts again.
  for (let i = 0; i < 10; i++) {
    nowMs += CHECK_MS;
    paused.shift()?.fn();
  }
  expect(events).toEqual(["blocked"]);
});

test("a worker that is replaced gets its time anew, and one that is forgotten is not told of", async () => {
  alive = false;
  await clock.advance(BLOCKED_MS + CHECK_MS);
  expect(watch.blocked(3)).toBeDefined();
  watch.watch(3, createTurnBoard());
  expect(watch.blocked(3)).toBeUndefined();
  watch.forget(3);
  const before = events.length;
  await clock.advance(BLOCKED_MS * 2);
  expect(events).toHaveLength(before);
});
