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

  it("admits no more than its bound, and knows those it has", async () => {
    const clock = new VirtualClock();
    const sessions = new Sessions(clock, 1_000, 2);
    const first = sessions.admit("first");
    sessions.admit("second");
    expect(() => sessions.admit("third")).toThrow(
      expect.objectContaining({ code: "overloaded", retry: "backoff" }),
    );
    expect(sessions.admit("first")).toBe(first);
    expect(sessions.get("recovered").id).toBe("recovered"); // the runtime's own business goes on
    await clock.advance(2_500);
    sessions.expire();
    expect(sessions.admit("third").id).toBe("third");
  });
});
