import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { seededRng, shardId } from "@pinion/core";
import {
  LmdbKv,
  nativeDoor,
  openLog,
  PortableDoor,
  RealDisk,
  type NativeDoor,
} from "@pinion/storage";
import { describe, expect, it } from "vitest";
import { runProgram } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";

const APPENDER = fileURLToPath(new URL("./fixtures/log-appender.ts", import.meta.url));
const A = shardId(0);

/** Runs the appender until it has said `lines` lines, then kills it. @returns the last LSN it said was flushed */
async function appendUntilKilled(dir: string, policy: string, lines: number): Promise<number> {
  const child = spawn(process.execPath, ["--conditions=source", APPENDER, dir, policy], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let flushed = 0;
  let seen = 0;
  for await (const line of createInterface(child.stdout)) {
    const [what, lsn] = line.split(" ");
    if (what === "flushed") flushed = Number(lsn);
    if (++seen === lines) child.kill("SIGKILL");
  }
  expect(seen).toBeGreaterThanOrEqual(lines);
  return flushed;
}

async function verify(dir: string, door: NativeDoor, flushed: number): Promise<number> {
  const kv = await LmdbKv.open(`${dir}/index`);
  const log = await openLog({
    disk: new RealDisk(door),
    kv,
    dir: `${dir}/log`,
    segmentBytes: 1 << 20,
  });
  try {
    const last = log.appended(A);
    expect(last).toBeGreaterThanOrEqual(flushed);
    let next = 0;
    for await (const { lsn, payload } of log.reader()) {
      if (next > 0) expect(lsn).toBe(next);
      next = lsn + 1;
      const expected = Buffer.alloc(64 + ((lsn * 37) % 900), lsn % 251);
      expected.writeDoubleLE(lsn);
      expect(expected.equals(payload)).toBe(true);
    }
    expect(next).toBe(last + 1);
    return last;
  } finally {
    await log.close();
    await kv.close();
  }
}

describe.each(["group", "batched(20)", "async"])(
  "a process that appends under %s and is killed",
  (policy) => {
    it("loses nothing it called flushed, time after time, on the real disk", async () => {
      await using folder = await temporaryDir();
      const dir = folder.path;
      const rng = seededRng(policy.length);
      let last = 0;
      for (let life = 0; life < 4; life++) {
        const flushed = await appendUntilKilled(
          dir,
          policy,
          2 + rng.below(policy === "async" ? 20 : 300),
        );
        expect(flushed).toBeGreaterThanOrEqual(last);
        last = await verify(dir, life % 2 === 0 ? nativeDoor() : new PortableDoor(), flushed);
      }
      expect(last).toBeGreaterThan(100);
    });
  },
);

it.each(["group", "batched(100)", "batchedOrPeriodic(1000, 20ms)", "periodic(20ms)"])(
  "keeps a process that has nothing else to do until its records are on disk (%s)",
  async (policy) => {
    await using dir = await temporaryDir();
    const ended = await runProgram("test/integration/fixtures/log-alone.ts", [dir.path, policy]);
    expect([ended.stdout, ended.stderr, ended.code]).toEqual(["flushed 3\n", "", 0]);
  },
);
