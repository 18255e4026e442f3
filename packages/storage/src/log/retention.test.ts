import { describe, expect, it } from "vitest";
import { SimKv } from "../kv/sim-kv.ts";
import { A, appendFlushed, LogMachine, lsns, readAll, upTo } from "./log.test.fixture.ts";
import type { LogPosition } from "./log.ts";
import type { SegmentedLog } from "./segmented-log.ts";

async function positionOf(log: SegmentedLog, lsn: number): Promise<LogPosition> {
  return (await readAll(log)).find((record) => record.lsn === lsn)!.position;
}

describe("retain", () => {
  it("lets go of the segments below the lowest position any consumer needs", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3000);
    const [early, late] = [await positionOf(log, 1000), await positionOf(log, 2500)];
    await log.retain("backup", early);
    expect(log.stats().firstSegment).toBe(early.segment);
    await log.retain("checkpoint", late);
    expect(log.stats().firstSegment).toBe(early.segment);
    expect((await lsns(log)).at(0)).toBeLessThanOrEqual(1000);
    await log.retain("backup", undefined);
    expect(log.stats().firstSegment).toBe(late.segment);
    const left = await lsns(log);
    expect(left).toEqual(upTo(3000).slice(3000 - left.length));
    expect(left[0]).toBeLessThanOrEqual(2500);
  });

  it("keeps everything as long as nobody has said what they need", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 2000);
    await machine.clock.advance(1000);
    await log.retain("checkpoint", undefined);
    expect(log.stats().firstSegment).toBe(1);
  });

  it("never lets go of the active segment, nor of one a power cut would need", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 2000);
    await log.retain("checkpoint", log.position());
    expect(log.stats()).toMatchObject({ segments: 1, firstSegment: log.stats().activeSegment });
    machine.crash(0);
    expect((await machine.open()).appended(A)).toBe(2000);
  });

  it("remembers its consumers over a restart, so that none is overtaken before it has spoken again", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 3000);
    const early = await positionOf(log, 1000);
    await log.retain("backup", early);
    await log.retain("checkpoint", await positionOf(log, 2500));
    machine.crash(0);
    const again = await machine.open();
    await again.retain("checkpoint", again.position());
    expect(again.stats().firstSegment).toBe(early.segment);
    expect((await lsns(again)).at(0)).toBeLessThanOrEqual(1000);
  });

  it("uses the files it frees again, and keeps only a few of them", async () => {
    const machine = new LogMachine();
    const log = await machine.open({ sparesMax: 2 });
    await appendFlushed(log, 3000);
    await machine.clock.settle();
    await log.retain("checkpoint", log.position());
    expect(log.stats()).toMatchObject({ spareFiles: 2, segments: 1 });
    expect(log.stats().removedSegments).toBeGreaterThan(4);
    const files = machine.disk.paths().length;
    await appendFlushed(log, 700);
    await machine.clock.settle();
    expect(log.stats().spareFiles).toBeLessThan(2);
    expect(machine.disk.paths()).toHaveLength(files);
    const kept = await lsns(log);
    await log.close();
    expect(await lsns(await machine.open({ sparesMax: 2 }))).toEqual(kept);
  });

  it("refuses a position that is none, and a name that is too long or empty", async () => {
    const log = await new LogMachine().open();
    await appendFlushed(log, 3);
    const bad = { code: "invalid-argument" };
    await expect(log.retain("x", { segment: 9, offset: 0 })).rejects.toMatchObject(bad);
    await expect(log.retain("x", { segment: 0, offset: 0 })).rejects.toMatchObject(bad);
    await expect(log.retain("", log.position())).rejects.toMatchObject(bad);
    await expect(log.retain("x".repeat(257), log.position())).rejects.toMatchObject(bad);
  });

  it("rejects and removes nothing when the index cannot take the claim", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 2000);
    machine.kv.fail({ kind: "commit", error: "ENOSPC" });
    await expect(log.retain("checkpoint", log.position())).rejects.toMatchObject({
      code: "disk-full",
    });
    expect(log.stats().firstSegment).toBe(1);
  });

  it("reports a removal that fails, and tries again with the next", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    await appendFlushed(log, 2000);
    machine.disk.fail({ kind: "rename", error: "EIO" });
    await log.retain("checkpoint", log.position());
    expect(log.stats().troubles).toEqual([expect.stringMatching(/^removal: /)]);
    machine.disk.clearFaults();
    await appendFlushed(log, 700);
    await log.retain("checkpoint", log.position());
    expect(log.stats().troubles).toEqual([]);
    expect(log.stats().segments).toBe(1);
    await log.close();
    await machine.open();
    expect(machine.segmentPaths().length).toBeLessThanOrEqual(2);
  });
});

describe("an index that has failed for good", () => {
  it("does not stop the log; it is named, and rebuilt at the next opening", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    machine.kv.fail({ kind: "commit", error: "EIO" });
    await appendFlushed(log, 2000);
    expect(log.stats().troubles).toEqual([expect.stringMatching(/^index: /)]);
    expect(log.failure).toBeUndefined();
    expect(await lsns(log)).toEqual(upTo(2000));
    await log.close();
    machine.kv = new SimKv({ rng: machine.rng });
    expect(await lsns(await machine.open())).toEqual(upTo(2000));
  });

  it("catches up when it was only full for a while", async () => {
    const machine = new LogMachine();
    const log = await machine.open();
    machine.kv.fail({ kind: "commit", error: "ENOSPC", times: 2 });
    await appendFlushed(log, 1000);
    expect(log.stats().troubles).toEqual([]);
    await machine.clock.advance(3000);
    machine.crash(1);
    expect((await machine.open()).stats().opening.rebuiltRows).toBe(0);
  });
});
