import {
  ByteWriter,
  closeLength,
  decodeError,
  decodeHostFrame,
  encodeValue,
  openCall,
  openCallArgs,
  PinionError,
  VirtualClock,
  writeArgs,
  writeCallHeader,
  writeCancel,
  writeClientFrameEnd,
  writeHello,
} from "@pinion/core";
import { describe, expect, it } from "vitest";
import { ClientStream, type FrameStream, type StreamContext } from "./client-stream.ts";
import type { Dispatcher, IncomingCall, Session } from "./dispatcher.ts";
import { InFlightBudget } from "./in-flight-budget.ts";

const TARGET = { namespace: "default", branch: "main", type: "counter", key: "a" };

interface FrameParts {
  readonly hello?: string;
  readonly calls?: readonly {
    readonly seq: number;
    readonly args?: unknown[];
    readonly oneWay?: boolean;
    readonly path?: string;
    readonly chain?: readonly string[];
    readonly timeoutMs?: number;
  }[];
  readonly cancels?: readonly number[];
  readonly ackedBelow?: number;
  readonly hlcUs?: number;
}

function frameOf(parts: FrameParts): Uint8Array {
  const w = new ByteWriter();
  if (parts.hello !== undefined) {
    writeHello(w, {
      protocolVersion: 1,
      sessionId: parts.hello,
      features: [],
      bearerToken: "",
      principal: "",
      clientName: "test",
    });
  }
  for (const { seq, args = [], timeoutMs = 0, ...extras } of parts.calls ?? []) {
    const at = openCall(w);
    writeCallHeader(w, seq, TARGET, "m", timeoutMs, 1, 0, extras);
    const argsAt = openCallArgs(w);
    writeArgs(w, args);
    closeLength(w, argsAt);
    closeLength(w, at);
  }
  for (const seq of parts.cancels ?? []) writeCancel(w, seq);
  writeClientFrameEnd(w, parts.ackedBelow ?? 0, parts.hlcUs ?? 0);
  return w.take();
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function setUp(overrides: Partial<StreamContext> = {}) {
  const clock = new VirtualClock();
  const frames: Buffer[] = [];
  const log: string[] = [];
  const stream = {
    accepts: true,
    draining: false,
    endedWith: undefined as PinionError | undefined,
  };
  const frameStream: FrameStream = {
    write: (frame) => (frames.push(frame), stream.accepts),
    pause: () => void log.push("pause"),
    resume: () => void log.push("resume"),
    end: (error) => {
      log.push("end");
      stream.endedWith = error;
    },
  };
  const submitted: IncomingCall[] = [];
  const times: number[] = [];
  const session: Session = { id: "s", ackedBelow: 0 };
  const ackedAtSubmit: number[] = [];
  const dispatcher: Dispatcher = {
    session: () => session,
    submit: (call) => {
      submitted.push(call);
      ackedAtSubmit.push(session.ackedBelow);
    },
    cancel: (_session, seq) => void log.push(`cancel ${seq}`),
    detach: () => {},
    describe: () => [],
    exchangeTime: (hlcUs) => (times.push(hlcUs), 1),
  };
  const budget = new InFlightBudget(10, 1_000_000);
  const context: Writable<StreamContext> = {
    dispatcher,
    clock,
    budget,
    maxInFlightPerStream: 5,
    maxFrameBytes: 256 * 1024,
    replyBufferBytesMax: 1_000_000,
    helloTimeoutMs: 1_000,
    get draining() {
      return stream.draining;
    },
    welcome: () => ({
      protocolVersion: 1,
      clusterId: "c",
      host: "h",
      incarnation: 1,
      shardMap: { shardCount: 1, workers: [], owners: [], terms: [], version: 1 },
      actorTypes: [],
      limits: { maxInFlight: 5, maxFrameBytes: 256 * 1024, sessionExpiryMs: 1 },
      features: [],
      hostVersion: "",
      worker: 0,
    }),
    onOpened: () => void log.push("opened"),
    onAnswered: () => void log.push("answered"),
    onClosed: () => void log.push("closed"),
  };
  Object.assign(context, overrides);
  return {
    client: new ClientStream(frameStream, context),
    clock,
    frames,
    log,
    stream,
    submitted,
    ackedAtSubmit,
    times,
    session,
    budget,
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const ok = { ok: true, bytes: encodeValue(1) };

function repliesIn(frames: readonly Buffer[]): [seq: number, result: string][] {
  const replies: [number, string][] = [];
  for (const frame of frames) {
    decodeHostFrame(frame, {
      onReply: (seq, isValue, bytes, start, end) =>
        void replies.push([seq, isValue ? "value" : decodeError(bytes, start, end).code]),
    });
  }
  return replies;
}

describe("ClientStream", () => {
  it("hands calls on with what the frame says about time and acknowledgement", () => {
    const { client, submitted, times, session, clock } = setUp();
    client.onFrame(
      frameOf({
        hello: "s",
        calls: [{ seq: 1, timeoutMs: 50, args: [7] }],
        ackedBelow: 1,
        hlcUs: 99,
      }),
    );
    expect(times).toEqual([99]);
    expect(session.ackedBelow).toBe(1);
    expect(submitted[0]).toMatchObject({
      seq: 1,
      method: "m",
      issuedAt: 99,
      deadlineAtMs: clock.nowMs() + 50,
      session,
      sink: client,
    });
    client.onFrame(frameOf({ calls: [], ackedBelow: 0 }));
    expect(session.ackedBelow).toBe(1);
  });

  it("does not read while its client does not", async () => {
    const { client, log, stream, submitted } = setUp();
    client.onFrame(frameOf({ hello: "s" }));
    stream.accepts = false;
    await turn(); // the welcome leaves, and the network is behind
    client.onFrame(frameOf({ calls: [{ seq: 1 }] }));
    client.onFrame(frameOf({ calls: [{ seq: 2 }] }));
    expect(log).toEqual(["opened", "pause"]);
    stream.accepts = true;
    client.reply(submitted[0] as IncomingCall, ok);
    client.onDrain();
    expect(log).toEqual(["opened", "pause", "resume"]);
  });

  it("refuses what exceeds the stream's and the worker's bounds, and frees the places of answered calls", async () => {
    const { client, frames, submitted, budget } = setUp();
    client.onFrame(frameOf({ hello: "s", calls: [1, 2, 3, 4, 5, 6].map((seq) => ({ seq })) }));
    expect([submitted.length, budget.calls, client.inFlight]).toEqual([5, 5, 5]);
    client.reply(submitted[0] as IncomingCall, ok);
    client.reply(submitted[0] as IncomingCall, ok); // a second answer counts for nothing
    expect([budget.calls, client.inFlight]).toEqual([4, 4]);
    client.onFrame(frameOf({ calls: [{ seq: 7 }] }));
    await turn();
    expect(repliesIn(frames)).toEqual([
      [6, "overloaded"],
      [1, "value"],
    ]);
    client.onClosed();
    expect([budget.calls, budget.bytes]).toEqual([0, 0]);
  });

  it("answers no one-way call, not even with a refusal", async () => {
    const { client, frames, submitted } = setUp({ maxInFlightPerStream: 1 });
    client.onFrame(
      frameOf({
        hello: "s",
        calls: [
          { seq: 1, oneWay: true },
          { seq: 2, oneWay: true },
        ],
      }),
    );
    client.reply(submitted[0] as IncomingCall, ok);
    await turn();
    expect(repliesIn(frames)).toEqual([]);
    expect(client.inFlight).toBe(0);
  });

  it("never takes a call for one whose reply its own frame acknowledges", () => {
    const { client, ackedAtSubmit, session } = setUp();
    const calls = [
      { seq: 4, oneWay: true },
      { seq: 5, oneWay: true },
    ];
    client.onFrame(frameOf({ hello: "s", calls, ackedBelow: 6 }));
    expect(ackedAtSubmit).toEqual([4, 4]);
    expect(session.ackedBelow).toBe(6);
  });

  it("refuses calls that claim to come from inside the cluster", async () => {
    const { client, frames, submitted } = setUp();
    const calls = [{ seq: 1, path: "0" }, { seq: 2, chain: ["counter/a"] }, { seq: 3 }];
    client.onFrame(frameOf({ hello: "s", calls }));
    await turn();
    expect(submitted.map((c) => c.seq)).toEqual([3]);
    expect(repliesIn(frames)).toEqual([
      [1, "invalid-argument"],
      [2, "invalid-argument"],
    ]);
  });

  it("passes on no cancellation of what is not in flight, and none twice", () => {
    const { client, log, submitted } = setUp();
    client.onFrame(frameOf({ hello: "s", calls: [{ seq: 1 }, { seq: 2 }] }));
    client.reply(submitted[0] as IncomingCall, ok);
    client.onFrame(frameOf({ cancels: [1, 2, 2, 3] }));
    expect(log).toEqual(["opened", "cancel 2"]);
  });

  it("frees the place of a call that came again and waits in the other's stead", () => {
    const { client, submitted, budget } = setUp();
    client.onFrame(frameOf({ hello: "s", calls: [{ seq: 1 }, { seq: 1 }] }));
    client.superseded(submitted[0] as IncomingCall);
    expect([budget.calls, client.inFlight]).toEqual([1, 1]);
    client.reply(submitted[1] as IncomingCall, ok);
    expect([budget.calls, client.inFlight]).toEqual([0, 0]);
  });

  it("notes when its client was last heard of", async () => {
    const { client, clock, session } = setUp();
    client.onFrame(frameOf({ hello: "s" }));
    await clock.advance(500);
    client.onFrame(frameOf({ hlcUs: 1 }));
    expect(session.lastSeenMs).toBe(clock.nowMs());
  });

  it("passes cancellations on, after the calls of the same frame", () => {
    const { client, log, submitted } = setUp();
    client.onFrame(frameOf({ hello: "s", calls: [{ seq: 1 }], cancels: [1] }));
    expect(submitted).toHaveLength(1);
    expect(log).toEqual(["opened", "cancel 1"]);
  });

  it("refuses new calls while the gateway drains, and says when one is answered", async () => {
    const { client, frames, log, submitted, stream } = setUp();
    client.onFrame(frameOf({ hello: "s", calls: [{ seq: 1 }] }));
    stream.draining = true;
    client.goAway("restart", 100);
    client.onFrame(frameOf({ calls: [{ seq: 2 }] }));
    client.reply(submitted[0] as IncomingCall, ok);
    await turn();
    expect(repliesIn(frames)).toEqual([
      [2, "draining"],
      [1, "value"],
    ]);
    expect(log).toEqual(["opened", "answered"]);
  });

  it("is ended by silence, by a bad frame, and only once", async () => {
    const silent = setUp();
    await silent.clock.advance(1_000);
    expect(silent.stream.endedWith).toMatchObject({ code: "malformed-frame" });
    const bad = setUp();
    bad.client.onFrame(frameOf({ hello: "s" }));
    bad.client.onFrame(Uint8Array.of(0xff));
    bad.client.onFrame(frameOf({ calls: [{ seq: 1 }] }));
    bad.client.fail(new PinionError("internal", "again"));
    bad.client.end();
    expect(bad.log).toEqual(["opened", "end", "closed"]);
    expect(bad.submitted).toEqual([]);
    await bad.clock.advance(10_000);
    expect(bad.clock.pending).toBe(0);
  });

  it("is ended, with its replies kept for a retry, when a client reads too slowly", async () => {
    const { client, stream, submitted, log, budget } = setUp({ replyBufferBytesMax: 100_000 });
    client.onFrame(frameOf({ hello: "s", calls: [1, 2, 3, 4].map((seq) => ({ seq })) }));
    stream.accepts = false;
    await turn();
    for (const call of submitted)
      client.reply(call, { ok: true, bytes: encodeValue(new Uint8Array(70_000)) });
    expect(stream.endedWith).toMatchObject({ code: "overloaded", retry: "backoff" });
    expect(log).toEqual(["opened", "end", "closed"]);
    expect([budget.calls, budget.bytes]).toEqual([0, 0]);
  });
});
