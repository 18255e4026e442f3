import { MessageChannel } from "node:worker_threads";
import { PinionError, VirtualClock } from "@pinion/core";
import { afterEach, beforeEach, expect, test } from "vitest";
import { RpcPeer, type RpcHandlers } from "./message-rpc.ts";

type Methods = {
  double: { args: number; result: number };
  fail: { args: string; result: null };
  never: { args: null; result: null };
  unclonable: { args: null; result: unknown };
};

const handlers: RpcHandlers<Methods> = {
  double: (n) => n * 2,
  fail: (message) => {
    throw new PinionError("disk-full", message, { details: { dir: "/x" } });
  },
  never: () => new Promise(() => {}),
  unclonable: () => () => {},
};

let channel: MessageChannel;
let clock: VirtualClock;
let caller: RpcPeer<Methods>;

beforeEach(() => {
  channel = new MessageChannel();
  clock = new VirtualClock();
  caller = new RpcPeer<Methods>(channel.port1, "the other side", clock, {});
  void new RpcPeer<Record<string, never>, Methods>(channel.port2, "the caller", clock, handlers);
});
afterEach(() => channel.port1.close());

test("a request is answered", async () => {
  expect(await caller.request("double", 21, 1_000)).toBe(42);
});

test("an error crosses with its code, message and details", async () => {
  await expect(caller.request("fail", "no room", 1_000)).rejects.toMatchObject({
    code: "disk-full",
    message: "no room",
    details: { dir: "/x" },
  });
});

test("a side that does not answer is not waited for longer than was said", async () => {
  const request = caller.request("never", null, 1_000);
  const refused = expect(request).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("the other side") as string,
  });
  await clock.advance(1_000);
  await refused;
});

test("what waits when the other side goes is refused, and so is everything later", async () => {
  const request = caller.request("never", null, 60_000);
  caller.end();
  await expect(request).rejects.toMatchObject({ code: "unavailable" });
  await expect(caller.request("double", 1, 1_000)).rejects.toMatchObject({ code: "unavailable" });
  expect(clock.pending).toBe(0);
});

test("requests that are not answered are bounded", async () => {
  const waiting = Array.from({ length: 1_000 }, () => caller.request("never", null, 60_000));
  await expect(caller.request("double", 1, 1_000)).rejects.toMatchObject({ code: "overloaded" });
  caller.end();
  expect((await Promise.allSettled(waiting)).every((w) => w.status === "rejected")).toBe(true);
});

test("an answer that cannot cross is an error, not silence", async () => {
  await expect(caller.request("unclonable", null, 1_000)).rejects.toThrow(/could not be cloned/);
});

test("an unknown kind is refused", async () => {
  await expect(caller.request("nope" as "double", 1, 1_000)).rejects.toMatchObject({
    code: "unknown-method",
  });
});
