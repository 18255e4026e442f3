import { encodeValue } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { CallSink, IncomingCall } from "../gateway/dispatcher.ts";
import { CallEntry } from "./call-entry.ts";

const callOf = (sink: CallSink, attempt: number) => ({ sink, attempt }) as IncomingCall;

function sinkOf() {
  const answered: number[] = [];
  return {
    closed: false,
    answered,
    reply: (call: IncomingCall) => void answered.push(call.attempt),
  };
}

describe("CallEntry", () => {
  it("keeps one waiter for each open sink, however often the call comes", () => {
    const [first, second] = [sinkOf(), sinkOf()];
    const replaced: number[] = [];
    const firstSink: CallSink = {
      reply: first.reply,
      superseded: (call) => void replaced.push(call.attempt),
    };
    const entry = new CallEntry(callOf(firstSink, 1), 0);
    entry.attach(callOf(second, 2));
    entry.attach(callOf(firstSink, 3));
    entry.attach(callOf(firstSink, 4));
    expect([entry.waitingCount, replaced]).toEqual([2, [1, 3]]);
    entry.refuse({ ok: true, bytes: encodeValue(1) });
    expect([first.answered, second.answered]).toEqual([[4], [2]]);
  });

  it("forgets sinks that were closed", () => {
    const entry = new CallEntry(callOf(sinkOf(), 1), 0);
    const gone = Array.from({ length: 100 }, sinkOf);
    for (const sink of gone) {
      entry.attach(callOf(sink, 2));
      sink.closed = true;
    }
    const last = sinkOf();
    entry.attach(callOf(last, 3));
    expect(entry.waitingCount).toBe(2);
  });
});
