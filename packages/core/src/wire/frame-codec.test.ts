import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PinionError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { decodeClientFrame } from "./client-frame-codec.ts";
import { decodeError, encodeError } from "./error-codec.ts";
import {
  GOLDEN_CLIENT_FRAME,
  GOLDEN_CLIENT_FRAME_HEX,
  GOLDEN_HOST_FRAME_HEX,
  GOLDEN_WELCOME,
} from "./frame.test.golden.ts";
import {
  writeCredit,
  writeFrameError,
  writeFrameWelcome,
  writeGoAway,
  writeHostFrameEnd,
  writeRelocation,
  writeReply,
} from "./host-frame-codec.ts";
import type { CallRequest } from "./messages.ts";
import {
  decodeCallRequest,
  decodeCallResponse,
  decodeDescribeRequest,
  encodeCallRequest,
  encodeCallResponse,
} from "./unary-codec.ts";
import { decodeWelcome } from "./welcome-codec.ts";
import * as arbitrary from "./wire.test.fixtures.ts";
import {
  codeOf,
  CONSISTENCIES,
  encodeClientFrame,
  plain,
  plainBytes,
  protoClientFrame,
  read,
  readHostFrame,
  write,
} from "./wire.test.fixtures.ts";

describe("client frames", () => {
  it("are read by protobufjs as they were written", () => {
    fc.assert(
      fc.property(arbitrary.clientFrame, (frame) => {
        const seen = read("ClientFrame", encodeClientFrame(frame));
        expect(seen).toEqual(protoClientFrame(frame));
      }),
    );
  });

  it("are read by us as protobufjs wrote them", () => {
    fc.assert(
      fc.property(arbitrary.clientFrame, (frame) => {
        const bytes = write("ClientFrame", protoClientFrame(frame));
        expect(plain(decodeClientFrame(bytes))).toEqual(plain(frame));
      }),
    );
  });

  it("are read by us as we wrote them", () => {
    fc.assert(
      fc.property(arbitrary.clientFrame, (frame) => {
        expect(plain(decodeClientFrame(encodeClientFrame(frame)))).toEqual(plain(frame));
      }),
    );
  });

  it("do not stay in memory for the sake of a few bytes of arguments", () => {
    const frame = new Uint8Array(1_000_000);
    const calls = [1, 60, 5_000, 200_000].map((count, i) => ({
      seq: i + 1,
      args: new Uint8Array(count).fill(7),
    }));
    const bytes = write("ClientFrame", { calls });
    frame.set(bytes);
    const decoded = decodeClientFrame(frame.subarray(0, bytes.length)).calls;
    expect(decoded.map((c) => c.args.buffer === frame.buffer)).toEqual([false, false, false, true]);
    expect(decoded.map((c) => plainBytes(c.args))).toEqual(calls.map((c) => c.args));
  });

  it("date calls that say nothing else with the frame's time", () => {
    const bytes = write("ClientFrame", {
      calls: [{ seq: 1 }, { seq: 2, issuedAtUs: 7 }],
      hlcUs: 99,
    });
    expect(decodeClientFrame(bytes).calls.map((call) => call.issuedAtUs)).toEqual([99, 7]);
  });

  it("refuse a call without a number, and a consistency nobody knows", () => {
    expect(codeOf(() => decodeClientFrame(write("ClientFrame", { calls: [{ type: "a" }] })))).toBe(
      "malformed-frame",
    );
    expect(codeOf(() => decodeClientFrame(Uint8Array.of(0x12, 0x04, 0x08, 0x01, 0x48, 0x09)))).toBe(
      "malformed-frame",
    );
  });

  it("refuse more calls than a frame may have", () => {
    const w = new ByteWriter();
    for (let i = 0; i <= 65_536; i++) w.bytes(Uint8Array.of(0x12, 0x02, 0x08, 0x01));
    expect(codeOf(() => decodeClientFrame(w.take()))).toBe("malformed-frame");
  });
});

describe("host frames", () => {
  const reply = fc.record({
    seq: arbitrary.uint.map((n) => Math.max(1, n)),
    ok: fc.constant(true),
    result: fc.uint8Array({ minLength: 0, maxLength: 300 }).map((b) => new Uint8Array(b)),
    lsn: arbitrary.uint,
    shard: arbitrary.uint32,
  });
  const relocation = fc.record({
    shard: arbitrary.uint32,
    term: arbitrary.uint,
    to: fc.record({ host: arbitrary.text, worker: arbitrary.uint32, address: arbitrary.text }),
  });
  const hostFrame = fc.record({
    welcome: fc.option(arbitrary.welcome, { nil: undefined }),
    replies: fc.array(reply, { maxLength: 6 }),
    relocations: fc.array(relocation, { maxLength: 3 }),
    goAway: fc.option(fc.record({ reason: arbitrary.text, graceMs: arbitrary.uint }), {
      nil: undefined,
    }),
    credit: arbitrary.uint32,
    hlcUs: arbitrary.uint,
  });

  it("are read by protobufjs, and by us, as they were written", () => {
    fc.assert(
      fc.property(hostFrame, (frame) => {
        const w = new ByteWriter();
        if (frame.welcome !== undefined) writeFrameWelcome(w, frame.welcome);
        for (const r of frame.replies) writeReply(w, r.seq, r.ok, r.result, r.lsn, r.shard, "");
        for (const r of frame.relocations) writeRelocation(w, r);
        if (frame.goAway !== undefined) writeGoAway(w, frame.goAway);
        writeCredit(w, frame.credit);
        writeHostFrameEnd(w, frame.hlcUs);
        const bytes = w.take();

        const ours = readHostFrame(bytes);
        expect(ours.replies).toEqual(frame.replies);
        const { replies: _, ...rest } = frame;
        expect(ours.frame).toEqual({ ...rest, replyCount: frame.replies.length, error: undefined });

        const theirs = read("HostFrame", bytes) as unknown as typeof frame;
        expect(theirs.welcome ?? undefined).toEqual(frame.welcome);
        expect(theirs.goAway ?? undefined).toEqual(frame.goAway);
        expect(theirs.relocations).toEqual(frame.relocations);
        expect([theirs.credit, theirs.hlcUs]).toEqual([frame.credit, frame.hlcUs]);
        const values = (theirs.replies as unknown as { value?: number[] }[]).map((r) =>
          Uint8Array.from(r.value ?? []),
        );
        expect(values).toEqual(frame.replies.map((r) => r.result));
      }),
    );
  });

  it("are read by us as protobufjs wrote them", () => {
    fc.assert(
      fc.property(hostFrame, (frame) => {
        const bytes = write("HostFrame", {
          ...frame,
          replies: frame.replies.map((r) => ({
            seq: r.seq,
            value: r.result,
            lsn: r.lsn,
            shard: r.shard,
          })),
        });
        const ours = readHostFrame(bytes);
        expect(ours.replies).toEqual(frame.replies);
        expect(ours.frame.welcome).toEqual(frame.welcome);
        expect(ours.frame.relocations).toEqual(frame.relocations);
        expect(ours.frame.goAway).toEqual(frame.goAway);
      }),
    );
  });

  it("carry errors, of a call and of the stream, that protobufjs can read", () => {
    const error = new PinionError("overloaded", "full", {
      retryAfterMs: 20,
      details: { limit: 5 },
    });
    const w = new ByteWriter();
    writeFrameError(w, error);
    const bytes = w.take();
    expect(readHostFrame(bytes).frame.error).toMatchObject({
      code: "overloaded",
      retryAfterMs: 20,
      details: { limit: 5 },
    });
    expect(read("HostFrame", bytes)["error"]).toMatchObject({
      name: "overloaded",
      message: "full",
      retry: 1,
      retryAfterMs: 20,
      details: { limit: "5" },
    });
    const written = write("Error", {
      name: "cycle",
      message: "m",
      cause: { name: "deadlock" },
      details: { a: '"b"' },
    });
    expect(decodeError(written)).toMatchObject({
      code: "cycle",
      details: { a: "b" },
      cause: { code: "deadlock" },
    });
  });

  it("have results of no bytes for undefined", () => {
    const w = new ByteWriter();
    writeReply(w, 5, true, new Uint8Array(0), 0, 0, "");
    expect(readHostFrame(w.take()).replies).toEqual([
      { seq: 5, ok: true, result: new Uint8Array(0), lsn: 0, shard: 0 },
    ]);
  });

  it.each([
    ["no shards", { shardCount: 0 }],
    ["too many shards", { shardCount: 65_537 }],
    ["owners for some shards only", { shardCount: 2, workers: [{}], owners: [0] }],
    ["terms for some shards only", { shardCount: 2, workers: [{}], terms: [1] }],
    ["an owner that is no worker", { shardCount: 1, workers: [{}], owners: [1] }],
  ])("are refused with a shard map of %s", (_what, shardMap) => {
    expect(codeOf(() => decodeWelcome(write("Welcome", { shardMap })))).toBe("malformed-frame");
  });

  it("may list owners and terms unpacked", () => {
    const packed = write("ShardMap", { shardCount: 2, workers: [{}], version: 0 });
    const unpacked = Uint8Array.of(...packed, 0x18, 0, 0x18, 0, 0x20, 7, 0x20, 8);
    const bytes = Uint8Array.of(0x2a, unpacked.length, ...unpacked);
    expect(decodeWelcome(bytes).shardMap).toMatchObject({ owners: [0, 0], terms: [7, 8] });
  });
});

describe("unary messages", () => {
  const request: fc.Arbitrary<CallRequest> = fc.record({
    type: arbitrary.name,
    key: arbitrary.text,
    method: arbitrary.name,
    jsonArgs: arbitrary.text,
    args: fc.uint8Array({ maxLength: 50 }).map((b) => new Uint8Array(b)),
    wantJson: fc.boolean(),
    namespace: arbitrary.name,
    branch: arbitrary.name,
    timeoutMs: arbitrary.uint32,
    idempotencyKey: arbitrary.text,
    idempotencyTtlMs: arbitrary.uint,
    sessionId: arbitrary.text,
    seq: arbitrary.uint,
    ackedBelow: arbitrary.uint,
    consistency: arbitrary.consistency,
    traceparent: arbitrary.text,
    bearerToken: arbitrary.text,
    principal: arbitrary.text,
    hlcUs: arbitrary.uint,
  });

  it("are the same for protobufjs and us, in both directions", () => {
    fc.assert(
      fc.property(request, (r) => {
        const proto = {
          ...r,
          consistency: CONSISTENCIES.indexOf(r.consistency),
          namespace: r.namespace === "default" ? "" : r.namespace,
          branch: r.branch === "main" ? "" : r.branch,
        };
        const fromProto = decodeCallRequest(write("CallRequest", proto));
        expect({ ...fromProto, args: plainBytes(fromProto.args) }).toEqual(r);
        const seen = read("CallRequest", encodeCallRequest(r));
        expect(seen).toEqual({ ...proto, args: [...proto.args] });
      }),
    );
    const response = { value: Uint8Array.of(1), jsonValue: "{}", lsn: 5, shard: 6, hlcUs: 7 };
    expect(read("CallResponse", encodeCallResponse(response))).toMatchObject({
      jsonValue: "{}",
      lsn: 5,
      shard: 6,
      hlcUs: 7,
    });
    expect(decodeCallResponse(write("CallResponse", response))).toMatchObject({
      jsonValue: "{}",
      lsn: 5,
      shard: 6,
      hlcUs: 7,
    });
    expect(decodeDescribeRequest(write("DescribeRequest", { bearerToken: "t" }))).toEqual({
      bearerToken: "t",
    });
  });
});

describe("golden frames", () => {
  const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

  it("keeps the bytes of a client's frame", () => {
    expect(hexOf(encodeClientFrame(GOLDEN_CLIENT_FRAME))).toBe(GOLDEN_CLIENT_FRAME_HEX);
    expect(plain(decodeClientFrame(Buffer.from(GOLDEN_CLIENT_FRAME_HEX, "hex")))).toEqual(
      plain(GOLDEN_CLIENT_FRAME),
    );
  });

  it("keeps the bytes of a host's frame", () => {
    const w = new ByteWriter();
    writeFrameWelcome(w, GOLDEN_WELCOME);
    writeReply(w, 1, true, Uint8Array.of(3), 42, 5, "");
    writeReply(
      w,
      300,
      false,
      encodeError(new PinionError("overloaded", "full"), { omitStack: true }),
      0,
      0,
      "0.2",
    );
    writeRelocation(w, { shard: 5, term: 2, to: { host: "b", worker: 1, address: "b:7070" } });
    writeGoAway(w, { reason: "restart", graceMs: 1500 });
    writeCredit(w, 100);
    writeHostFrameEnd(w, 978_307_200_000_000);
    expect(hexOf(w.take())).toBe(GOLDEN_HOST_FRAME_HEX);
    const { frame, replies } = readHostFrame(Buffer.from(GOLDEN_HOST_FRAME_HEX, "hex"));
    expect(frame).toMatchObject({
      welcome: GOLDEN_WELCOME,
      credit: 100,
      hlcUs: 978_307_200_000_000,
    });
    expect(replies.map((r) => [r.seq, r.ok, r.lsn, r.shard])).toEqual([
      [1, true, 42, 5],
      [300, false, 0, 0],
    ]);
  });
});
