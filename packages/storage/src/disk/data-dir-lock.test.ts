import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { isPinionError } from "@pinion/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NativeDoor } from "../memory/native-door.ts";
import { PortableDoor } from "../memory/portable-door.ts";
import { lockDataDir } from "./data-dir-lock.ts";

/** A machine without any way to lock: the name in the file decides. */
class NoLocks extends PortableDoor {
  override tryLock(): undefined {
    return undefined;
  }
}

describe("the lock of a data directory", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "pinion-lock-"));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  const refusal = async (door?: NativeDoor): Promise<unknown> => {
    try {
      await (await lockDataDir(dir, door)).release();
    } catch (e) {
      if (isPinionError(e)) return { code: e.code, pid: e.details["pid"], message: e.message };
      throw e;
    }
    return undefined;
  };
  const holder = (changes: object): Promise<void> =>
    writeFile(
      join(dir, "lock"),
      JSON.stringify({ pid: process.pid, host: hostname(), startTicks: "", ...changes }),
    );

  it("is taken by one at a time, who is named to the second", async () => {
    const lock = await lockDataDir(dir);
    expect(lock.enforced).toBe(true);
    expect(JSON.parse(await readFile(join(dir, "lock"), "utf8"))).toMatchObject({
      pid: process.pid,
      host: hostname(),
    });
    expect(await refusal()).toMatchObject({
      code: "data-dir-locked",
      pid: process.pid,
      message: expect.stringContaining("this process already") as string,
    });
    await lock.release();
    expect(await refusal()).toBeUndefined();
  });

  it("does not mind the name of somebody who is gone", async () => {
    await holder({ pid: 1 });
    expect(await refusal()).toBeUndefined();
    await writeFile(join(dir, "lock"), "{ half a na");
    expect(await refusal()).toBeUndefined();
  });

  it("names nobody when the holder has not written its name yet", async () => {
    const lock = await lockDataDir(dir);
    await writeFile(join(dir, "lock"), "");
    expect(await refusal()).toMatchObject({
      pid: null,
      message: expect.stringContaining("another process") as string,
    });
    await lock.release();
  });

  it("says that the directory is missing or may not be written", async () => {
    await rm(dir, { recursive: true });
    expect(await refusal()).toMatchObject({ code: "not-found" });
    await expect(lockDataDir("/proc")).rejects.toMatchObject({
      code: expect.stringMatching(/io-error|not-found|disk-read-only/) as string,
    });
  });

  describe("where nothing can lock", () => {
    const door = new NoLocks();

    it("goes by the name: a process that runs holds it, until it releases it", async () => {
      const lock = await lockDataDir(dir, door);
      expect(lock.enforced).toBe(false);
      expect(await refusal(door)).toMatchObject({ code: "data-dir-locked", pid: process.pid });
      await lock.release();
      expect(await refusal(door)).toBeUndefined();
    });

    it("is free when the process is gone, or another one has got its number", async () => {
      await holder({ pid: 2 ** 22 + 1 });
      expect(await refusal(door)).toBeUndefined();
      await holder({ startTicks: "1" });
      expect(await refusal(door)).toBeUndefined();
      await writeFile(join(dir, "lock"), '{"pid":"x"}');
      expect(await refusal(door)).toBeUndefined();
    });

    it("leaves a holder on another machine to a person", async () => {
      await holder({ pid: 2 ** 22 + 1, host: "elsewhere" });
      expect(await refusal(door)).toMatchObject({
        code: "data-dir-locked",
        message: expect.stringContaining("on elsewhere") as string,
      });
    });
  });
});
