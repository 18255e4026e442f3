import { encodeCallRequest, PinionError, VirtualClock, type CallRequest } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { Dispatcher } from "./dispatcher.ts";
import { InFlightBudget } from "./in-flight-budget.ts";
import { UnaryCalls } from "./unary-calls.ts";

const REQUEST: CallRequest = {
  type: "counter",
  key: "k",
  method: "increment",
  jsonArgs: "",
  args: new Uint8Array(0),
  wantJson: false,
  namespace: "",
  branch: "",
  timeoutMs: 0,
  idempotencyKey: "",
  idempotencyTtlMs: 0,
  sessionId: "abc",
  seq: 1,
  ackedBelow: 0,
  consistency: "linearizable",
  traceparent: "",
  bearerToken: "",
  principal: "",
  hlcUs: 0,
} as unknown as CallRequest;

describe("unary calls", () => {
  it.each([
    ["a session that cannot be had", REQUEST],
    ["a session id that is none", { ...REQUEST, sessionId: "not one!" }],
    ["a session without a number", { ...REQUEST, seq: 0 }],
  ])("that are refused for %s take nothing from the budget", (_, request) => {
    const budget = new InFlightBudget(2, 1e6);
    let full = false;
    const dispatcher = {
      session: (id: string) => {
        if (full) throw new PinionError("overloaded", "too many sessions");
        return { id, ackedBelow: 0 };
      },
      exchangeTime: () => 1,
      submit: () => {},
    } as unknown as Dispatcher;
    const context = { dispatcher, clock: new VirtualClock(), budget, draining: false };
    const unary = new UnaryCalls(context, "gateway");
    full = true;
    const outcomes: boolean[] = [];
    for (let i = 0; i < 5; i++)
      unary.call(encodeCallRequest(request), Infinity, ({ ok }) => outcomes.push(ok));
    expect(outcomes).toEqual([false, false, false, false, false]);
    expect(budget.calls).toBe(0);
  });
});
