import { PinionError, VirtualClock } from "@pinion/core";
import { expect, it } from "vitest";
import { bytes } from "../structures/bytes.ts";
import { codeOf, StoreMachine } from "./store.test.fixture.ts";
import { ROW_MS, TurnPace, TURNS_AT_ONCE } from "./turn-pace.ts";

it("lets so many turns begin, and none more, before the event loop has run", async () => {
  const clock = new VirtualClock();
  const pace = new TurnPace(clock);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < TURNS_AT_ONCE; i++) expect(pace.next(0)).toBeUndefined();
    const breath = pace.next(0);
    expect(breath).toBeInstanceOf(Promise);
    expect(pace.next(0)).toBe(breath); // another volume's waits as well
    await clock.settle();
    await breath;
  }
});

it("lets fewer begin where they take long", async () => {
  const clock = new VirtualClock();
  const pace = new TurnPace(clock);
  let nowMs = 1_000;
  for (let round = 0; round < 3; round++) {
    expect(pace.next(nowMs)).toBeUndefined();
    expect(pace.next((nowMs += ROW_MS))).toBeUndefined();
    const breath = pace.next(++nowMs);
    expect(breath).toBeInstanceOf(Promise);
    await clock.settle();
    await breath;
  }
});

it("keeps nobody waiting who comes when the event loop has run", async () => {
  const clock = new VirtualClock();
  const pace = new TurnPace(clock);
  for (let i = 0; i < 20; i++) {
    expect(pace.next(i * 100)).toBeUndefined();
    await clock.settle();
  }
});

it.each(["read", "update"] as const)("a loop of %ss lets the event loop run", async (turn) => {
  const machine = new StoreMachine();
  const store = await machine.open();
  const volume = await store.open("a", { data: bytes() });
  let begun = 0;
  let begunBefore = Infinity;
  machine.clock.defer(() => (begunBefore = begun));
  const loop = async (): Promise<void> => {
    while (begun < 2 * TURNS_AT_ONCE) {
      begun++;
      await volume[turn](({ data }) => data.lengthBytes);
    }
  };
  const looping = loop();
  for (let i = 0; i < 5; i++) await machine.clock.settle();
  await looping;
  expect(begunBefore).toBeLessThanOrEqual(TURNS_AT_ONCE + 1);
});

it("turns that waited do not all begin in one row", async () => {
  const machine = new StoreMachine();
  const store = await machine.open({ waitingMax: 20_000 });
  const volume = await store.open("a", { data: bytes() });
  const begun: number[] = [0];
  const rounds = (): void =>
    machine.clock.defer(() => {
      begun.push(0);
      if (begun.length < 20) rounds();
    });
  rounds();
  const reads = Array.from({ length: 3 * TURNS_AT_ONCE }, () =>
    volume.read(() => {
      begun[begun.length - 1]! += 1;
    }),
  );
  for (let i = 0; i < 8; i++) await machine.clock.settle();
  await Promise.all(reads);
  expect(Math.max(...begun)).toBeLessThanOrEqual(TURNS_AT_ONCE);
});

it("a read that waits is under way: closing waits for it, and there are not more than may be", async () => {
  const machine = new StoreMachine();
  const store = await machine.open({ waitingMax: 2 });
  const volume = await store.open("a", { data: bytes() });
  for (let i = 0; i < TURNS_AT_ONCE; i++) void volume.read(() => 0);
  const abort = new AbortController();
  const waiting = [
    codeOf(volume.read(() => 0)),
    codeOf(volume.read(() => 0, { signal: abort.signal })),
    codeOf(volume.read(() => 0)),
  ];
  abort.abort(new PinionError("cancelled", "enough"));
  const closing = volume.close();
  for (let i = 0; i < 8; i++) await machine.clock.settle();
  await closing;
  expect(await Promise.all(waiting)).toEqual(["nothing was thrown", "cancelled", "overloaded"]);
});
