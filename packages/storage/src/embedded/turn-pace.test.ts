import { VirtualClock } from "@pinion/core";
import { expect, it } from "vitest";
import { TurnPace, TURNS_AT_ONCE } from "./turn-pace.ts";

it("lets so many turns begin, and none more, before the event loop has run", async () => {
  const clock = new VirtualClock();
  const pace = new TurnPace(clock);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < TURNS_AT_ONCE; i++) expect(pace.next()).toBeUndefined();
    const breath = pace.next();
    expect(breath).toBeInstanceOf(Promise);
    expect(pace.next()).toBe(breath); // another volume's waits as well
    await clock.settle();
    await breath;
  }
});
