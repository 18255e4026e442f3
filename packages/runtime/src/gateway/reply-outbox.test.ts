import {
  decodeError,
  decodeHostFrame,
  decodeValue,
  encodeValue,
  PinionError,
  VirtualClock,
} from "@pinion/core";
import { describe, expect, it } from "vitest";
import { ReplyOutbox } from "./reply-outbox.ts";

interface Reply {
  readonly seq: number;
  readonly value: unknown;
  readonly lsn: number;
}

function setUp(bytesMax = 1_000_000, maxFrameBytes = 256 * 1024) {
  const frames: Buffer[] = [];
  const state = { accepts: true, overflows: 0 };
  const stream = {
    write(frame: Buffer): boolean {
      frames.push(frame);
      return state.accepts;
    },
  };
  const outbox = new ReplyOutbox(stream, {
    clock: new VirtualClock(),
    maxFrameBytes,
    bytesMax,
    hlcUs: () => 77,
    onOverflow: () => state.overflows++,
  });
  return { frames, state, outbox };
}

const value = (v: unknown) => ({ ok: true, bytes: encodeValue(v) });
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function read(frame: Buffer): { replies: Reply[]; rest: ReturnType<typeof decodeHostFrame> } {
  const replies: Reply[] = [];
  const rest = decodeHostFrame(frame, {
    onReply: (seq, ok, bytes, start, end, lsn) => {
      const result =
        start === end
          ? undefined
          : ok
            ? decodeValue(bytes, start, end)
            : decodeError(bytes, start, end);
      replies.push({ seq, value: result, lsn });
    },
  });
  return { replies, rest };
}

describe("ReplyOutbox", () => {
  it("sends the replies of one event-loop turn in one frame, in order, with the host's time", async () => {
    const { frames, outbox } = setUp();
    outbox.reply(3, value("c"), "");
    outbox.reply(1, { ...value("a"), lsn: 42, shard: 5 }, "");
    outbox.reply(2, value(undefined), "");
    expect(frames).toEqual([]);
    await turn();
    expect(frames).toHaveLength(1);
    const { replies, rest } = read(frames[0] as Buffer);
    expect(replies).toEqual([
      { seq: 3, value: "c", lsn: 0 },
      { seq: 1, value: "a", lsn: 42 },
      { seq: 2, value: undefined, lsn: 0 },
    ]);
    expect(rest.hlcUs).toBe(77);
    await turn();
    expect(frames).toHaveLength(1);
  });

  it("closes a frame that grows large, without waiting for the turn's end", () => {
    const { frames, outbox } = setUp();
    for (let seq = 1; seq <= 10; seq++) outbox.reply(seq, value(new Uint8Array(40_000)), "");
    expect(frames.length).toBe(5);
    for (const frame of frames) expect(frame.length).toBeLessThan(256 * 1024);
  });

  it("keeps frames while the network is behind, and sends them in order when it has caught up", async () => {
    const { frames, state, outbox } = setUp();
    state.accepts = false;
    outbox.reply(1, value(1), "");
    await turn();
    expect([frames.length, outbox.blocked]).toEqual([1, true]);
    outbox.reply(2, value(2), "");
    await turn();
    outbox.reply(3, value(3), "");
    await turn();
    expect(frames).toHaveLength(1);
    outbox.drained();
    expect(frames).toHaveLength(2); // and the network is behind again
    state.accepts = true;
    outbox.drained();
    expect(frames.flatMap((f) => read(f).replies.map((r) => r.seq))).toEqual([1, 2, 3]);
    expect(outbox.blocked).toBe(false);
  });

  it("says so when more than its bound is waiting", async () => {
    const { state, outbox } = setUp(100_000);
    state.accepts = false;
    for (let seq = 1; seq <= 3; seq++) outbox.reply(seq, value(new Uint8Array(70_000)), "");
    expect(state.overflows).toBe(1);
  });

  it("turns a result that does not fit into a message into an error", async () => {
    const { frames, outbox } = setUp();
    outbox.reply(1, value(new Uint8Array(300_000)), "");
    await turn();
    expect(read(frames[0] as Buffer).replies[0]?.value).toMatchObject({ code: "frame-too-large" });
  });

  it("says nothing more after its error, nor after it was closed", async () => {
    const { frames, outbox } = setUp();
    outbox.error(new PinionError("malformed-frame", "bad"));
    outbox.reply(1, value(1), "");
    await turn();
    expect(frames).toHaveLength(1);
    expect(read(frames[0] as Buffer).rest.error).toMatchObject({ code: "malformed-frame" });
    const other = setUp();
    other.outbox.reply(1, value(1), "");
    other.outbox.close();
    await turn();
    expect(other.frames).toEqual([]);
  });
});
