import { isPinionError, seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { SimDisk } from "../disk/sim-disk.ts";
import { SimKv } from "../kv/sim-kv.ts";
import { FilesystemArchive } from "./archive.ts";
import { flushPolicy } from "./flush-policy.ts";
import { resolveLogOptions, type LogOptions } from "./log-options.ts";

const rng = seededRng(1);
const disk = new SimDisk({ rng });
const BASE = { disk, kv: new SimKv({ rng }), dir: "data/log" };
const store = new FilesystemArchive(disk, "far");

describe("the options of a log", () => {
  it("have defaults for everything but where it lives", () => {
    const { disk: _, kv, clock, newGeneration, telemetry, ...rest } = resolveLogOptions(BASE);
    expect(rest).toEqual({
      dir: "data/log",
      worker: 0,
      shardCount: 256,
      flush: flushPolicy.group,
      segmentBytes: 64 * 2 ** 20,
      stagingBytes: 8 * 2 ** 20,
      prepareAt: 0.8,
      idleMarkerMs: 10,
      sparesMax: 4,
      readersMax: 64,
      idleFilesMax: 16,
      appendQueueMax: 1024,
      archive: undefined,
    });
    expect(newGeneration()).not.toBe(newGeneration());
    expect([kv, clock, telemetry].every((part) => part !== undefined)).toBe(true);
  });

  it("are frozen once resolved, with the defaults of an archive filled in", () => {
    const resolved = resolveLogOptions({
      ...BASE,
      dir: "data/log//",
      flush: "batched(7)",
      archive: { store },
    });
    expect(Object.isFrozen(resolved)).toBe(true);
    expect(resolved).toMatchObject({ dir: "data/log", flush: flushPolicy.batched(7) });
    expect(resolved.archive).toMatchObject({
      backlogSegmentsMax: 64,
      backlogBytesMax: 4 * 2 ** 30,
      resumeAt: 0.5,
    });
  });

  it.each<[string, Partial<LogOptions>, RegExp]>([
    [
      "a number out of range",
      { segmentBytes: 4096 },
      /^log\.segmentBytes is 4096: it must be from 65536 to /,
    ],
    [
      "a size that is no multiple",
      { segmentBytes: 65_537 },
      /^log\.segmentBytes is 65537: it must be a multiple of 4096$/,
    ],
    [
      "a fraction of a shard",
      { shardCount: 1.5 },
      /^log\.shardCount is 1\.5: it must be a whole number$/,
    ],
    ["not a number", { idleMarkerMs: Number.NaN }, /^log\.idleMarkerMs is NaN/],
    ["a share above one", { prepareAt: 1.5 }, /^log\.prepareAt is 1\.5: it must be from 0 to 1$/],
    [
      "segments too small for the shards",
      { segmentBytes: 65_536, shardCount: 1000 },
      /^log\.segmentBytes is 65536: it must be at least \d+ for 1000 shards$/,
    ],
    [
      "an archive without room",
      { archive: { store, backlogSegmentsMax: 0 } },
      /^log\.archive\.backlogSegmentsMax is 0/,
    ],
    ["a policy that is none", { flush: "often" }, /unknown flush policy "often"/],
  ])("name the key, the value and the broken relation: %s", (_, wrong, message) => {
    try {
      resolveLogOptions({ ...BASE, ...wrong });
      expect.unreachable();
    } catch (e) {
      expect(isPinionError(e, "config-invalid")).toBe(true);
      expect((e as Error).message).toMatch(message);
    }
  });
});
