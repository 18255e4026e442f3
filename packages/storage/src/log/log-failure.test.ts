import { lsn, type PinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { flushPolicy } from "./flush-policy.ts";
import {
  A,
  appendFlushed,
  input,
  LogMachine,
  lsns,
  payloadOf,
  readAll,
  upTo,
} from "./log.test.fixture.ts";

function thrownBy(run: () => unknown): PinionError {
  try {
    run();
  } catch (e) {
    return e as PinionError;
  }
  throw new Error("nothing was thrown");
}

describe.each(["write", "sync"] as const)("a %s that fails", (kind) => {
  it("ends the log: appends throw with the cause, waiters are told, nothing is tried again", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.group });
    await appendFlushed(log, 3);
    const failures: PinionError[] = [];
    log.onFailure((error) => failures.push(error));
    machine.disk.fail({ kind, error: "EIO" });
    log.tryAppend(input(), payloadOf(4));
    const waiting = log.whenFlushed(A, lsn(4));
    await expect(waiting).rejects.toMatchObject({
      code: "log-closed",
      cause: { code: "io-error" },
    });
    expect(log.failure).toMatchObject({ code: "io-error" });
    expect(failures).toEqual([log.failure]);
    expect(thrownBy(() => log.tryAppend(input(), payloadOf(5)))).toMatchObject({
      code: "log-closed",
      cause: log.failure,
    });
    await expect(log.append(input(), payloadOf(5))).rejects.toMatchObject({ code: "log-closed" });
    await expect(log.whenFlushed(A, lsn(5))).rejects.toMatchObject({ code: "log-closed" });
    expect(log.backpressure()).toBe(log.failure);
    expect(log.flushed(A)).toBe(3);
    const { operationCount } = machine.disk;
    await machine.clock.advance(10_000);
    expect(machine.disk.operationCount).toBe(operationCount);
  });

  it("loses nothing that was flushed, and the next opening goes on from there", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.group });
    await appendFlushed(log, 3);
    machine.disk.fail({ kind, error: "EIO" });
    log.tryAppend(input(), payloadOf(4));
    await expect(log.whenFlushed(A, lsn(4))).rejects.toThrow();
    await log.close();
    machine.disk.clearFaults();
    machine.kill();
    const again = await machine.open();
    expect(again.appended(A)).toBeGreaterThanOrEqual(3);
    expect(await lsns(again)).toEqual(upTo(again.appended(A)));
  });

  it("rejects appends that were waiting for room, and ends followers", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.group });
    await appendFlushed(log, 1);
    const followed = readAll(log, { follow: true });
    followed.catch(() => {});
    await machine.clock.settle();
    machine.disk.fail({ kind, error: "EIO" });
    const appends = Array.from({ length: 500 }, (_, i) =>
      log.append(input(), payloadOf(i)).then(
        () => "ok",
        (e: PinionError) => e.code,
      ),
    );
    const outcomes = await Promise.all(appends);
    expect(new Set(outcomes)).toEqual(new Set(["ok", "log-closed"]));
    await expect(followed).rejects.toMatchObject({ code: "log-closed" });
  });
});

describe("a sync of a full segment that fails beside the writes", () => {
  it("ends the log under async, too", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.async });
    machine.disk.fail({ kind: "sync", path: "0000000000000001.log", error: "EIO" });
    machine.disk.fail({ kind: "sync", path: "0000000000000001.new", error: "EIO" });
    await log.append(input(), payloadOf(1));
    for (let i = 0; i < 2000 && !log.failure; i++) {
      if (log.tryAppend(input(), payloadOf(i)) === undefined) await machine.clock.advance(10);
    }
    await machine.clock.advance(10);
    expect(log.failure).toMatchObject({ code: "io-error" });
    expect(log.flushed(A)).toBe(0);
  });
});

describe("a log that was closed", () => {
  it("takes nothing more and says so; reading what is there is over, too", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 2);
    const followed = readAll(log, { follow: true });
    await machine.clock.settle();
    await log.close();
    await log.close();
    expect((await followed).map((record) => record.lsn)).toEqual([1, 2]);
    expect(thrownBy(() => log.tryAppend(input(), payloadOf(3)))).toMatchObject({
      code: "log-closed",
    });
    await expect(readAll(log)).rejects.toMatchObject({ code: "log-closed" });
    expect(log.failure).toBeUndefined();
  });

  it("has flushed what was appended before, and has no timer left", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ flush: flushPolicy.batched(1000) });
    for (let i = 0; i < 5; i++) log.tryAppend(input(), payloadOf(i));
    const waiting = log.whenFlushed(A, lsn(5));
    await log.close();
    await waiting;
    expect(machine.clock.pending).toBe(0);
    machine.crash(0);
    expect(await lsns(await machine.open())).toEqual(upTo(5));
  });
});

describe("a listener that throws", () => {
  it("stops neither the other listeners nor the log", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    const uncaught = new Promise((resolve) => process.once("uncaughtException", resolve));
    const before = process.listeners("uncaughtException").slice(0, -1);
    for (const listener of before) process.off("uncaughtException", listener);
    let called = 0;
    log.onFlushed(() => {
      throw new Error("a bug of the listener");
    });
    log.onFlushed(() => called++);
    try {
      await appendFlushed(log, 2);
      expect(await uncaught).toMatchObject({ message: "a bug of the listener" });
    } finally {
      for (const listener of before) process.on("uncaughtException", listener);
    }
    expect(called).toBe(1);
    expect(log.failure).toBeUndefined();
  });
});
