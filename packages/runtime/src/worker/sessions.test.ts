import { VirtualClock } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { Sessions } from "./sessions.ts";

describe("Sessions", () => {
  it("keeps the clients that are heard of and forgets the silent ones", async () => {
    const clock = new VirtualClock();
    const sessions = new Sessions(clock, 1_000, 10);
    const talking = sessions.get("talking");
    talking.ackedBelow = 7;
    sessions.get("silent");
    await clock.advance(1_500);
    talking.lastSeenMs = clock.nowMs(); // as the gateway does with every frame
    await clock.advance(1_000);
    sessions.expire();
    expect([sessions.size, sessions.ackedBelow("talking")]).toEqual([1, 7]);
  });

  it("keeps no more clients that change something than its bound, and knows those it has", async () => {
    const clock = new VirtualClock();
    const sessions = new Sessions(clock, 1_000, 2);
    const first = sessions.admit("first");
    sessions.changing(first);
    sessions.changing(sessions.admit("second"));
    const third = sessions.admit("third");
    expect(() => sessions.changing(third)).toThrow(
      expect.objectContaining({ code: "overloaded", retry: "backoff" }),
    );
    sessions.changing(first);
    expect(sessions.admit("first")).toBe(first);
    expect(sessions.get("recovered").id).toBe("recovered"); // the runtime's own business goes on
    sessions.changing(sessions.admit("@own"));
    await clock.advance(2_500);
    sessions.expire();
    sessions.changing(sessions.admit("third"));
    expect(sessions.size).toBe(1);
  });

  it("makes room among clients that have changed nothing, so that nobody can lock others out with names", () => {
    const sessions = new Sessions(new VirtualClock(), 1_000, 10);
    const writer = sessions.admit("writer");
    sessions.changing(writer);
    const early = sessions.admit("early");
    for (let i = 0; i < 1_000; i++) sessions.admit(`reader ${i}`);
    expect(sessions.size).toBe(11);
    expect(sessions.admit("writer")).toBe(writer);
    sessions.changing(early); // its stream was there all the time
    early.ackedBelow = 5;
    expect(sessions.ackedBelow("early")).toBe(5);
    for (let i = 0; i < 8; i++) sessions.get(`recovered ${i}`);
    expect(sessions.admit("late").id).toBe("late");
  });
});
