/**
 * Damages log files at random (flipped bits, overwritten sectors, runs of zeros, pieces of another place) and checks that what
 * the log then says is either the truth or a typed error: never wrong, reordered or invented records, never a crash.
 */
import {
  hlcTime,
  isPinionError,
  seededRng,
  shardId,
  term,
  VirtualClock,
  type Rng,
} from "@pinion/core";
import {
  flushPolicy,
  openLog,
  RecordKind,
  SimDisk,
  SimKv,
  type SegmentedLog,
} from "@pinion/storage";
import { describe, expect, it } from "vitest";

const RUNS = 400;
const SEED = 7_919;

interface Machine {
  readonly disk: SimDisk;
  readonly kv: SimKv;
}

function open({ disk, kv }: Machine): Promise<SegmentedLog> {
  return openLog({
    disk,
    kv,
    dir: "log",
    clock: new VirtualClock(),
    flush: flushPolicy.group,
    shardCount: 4,
    segmentBytes: 65_536,
    stagingBytes: 32_768,
  });
}

function payloadOf(rng: Rng, n: number): Uint8Array {
  const payload = new Uint8Array(rng.below(rng.chance(0.1) ? 3000 : 120)).fill(n & 255);
  for (let i = 0; i < payload.length; i += 5) payload[i] = rng.below(256);
  return payload;
}

/** A closed log of up to five segments. @returns its payloads, by shard and LSN */
async function writeLog(machine: Machine, rng: Rng): Promise<Map<string, Uint8Array>> {
  const log = await open(machine);
  const written = new Map<string, Uint8Array>();
  const count = 20 + rng.below(2000);
  for (let n = 0; n < count; n++) {
    const shard = shardId(rng.below(4));
    const payload = payloadOf(rng, n);
    const input = { shard, term: term(1), kind: RecordKind.user, timestamp: hlcTime(1e15 + n) };
    written.set(`${shard} ${await log.append(input, payload)}`, payload);
  }
  await log.close();
  return written;
}

async function damage({ disk }: Machine, rng: Rng): Promise<void> {
  const path = rng.pick(disk.paths().filter((name) => name.endsWith(".log")));
  const kind = rng.below(4);
  if (kind === 0) return void disk.flipRandomBit(path);
  const size = disk.contents(path).length;
  const at = rng.below(size);
  const bytes = new Uint8Array(Math.min(size - at, 1 + rng.below(2000)));
  if (kind === 1) for (let i = 0; i < bytes.length; i++) bytes[i] = rng.below(256);
  if (kind === 2)
    bytes.set(disk.contents(path).subarray(rng.below(size)).subarray(0, bytes.length));
  const file = await disk.open(path);
  await file.write(at, bytes, { sync: true });
  await file.close();
}

/** Reads everything there is. @returns how many records, or the code of the error that ended it */
async function readOut(
  machine: Machine,
  written: ReadonlyMap<string, Uint8Array>,
): Promise<number | string> {
  let records = 0;
  try {
    const log = await open(machine);
    const last = [0, 0, 0, 0];
    for await (const { shard, lsn, payload } of log.reader()) {
      expect(lsn).toBe(last[shard]! + 1);
      last[shard] = lsn;
      expect(Buffer.compare(payload, written.get(`${shard} ${lsn}`)!)).toBe(0);
      records++;
    }
    return records;
  } catch (e) {
    if (isPinionError(e)) return e.code;
    throw e;
  }
}

describe("a damaged log", () => {
  it("says the truth or that it is damaged, and nothing that was closed in good order ever vanishes silently", async () => {
    const outcomes = new Map<string, number>();
    for (let run = 0; run < RUNS; run++) {
      const rng = seededRng(SEED).fork(`damage-${run}`);
      const machine = { disk: new SimDisk({ rng }), kv: new SimKv({ rng }) };
      const written = await writeLog(machine, rng);
      for (let i = 1 + rng.below(3); i > 0; i--) await damage(machine, rng);
      const lostIndex = rng.chance(0.3);
      const outcome = await readOut(
        lostIndex ? { ...machine, kv: new SimKv({ rng }) } : machine,
        written,
      );
      // The index says where the log was closed, so even the loss of its end is noticed; without it the last marker may go.
      const missing = typeof outcome === "number" ? written.size - outcome : 0;
      if (!lostIndex) expect(missing, `seed ${SEED}, run ${run}`).toBe(0);
      const name = typeof outcome === "string" ? outcome : missing === 0 ? "whole" : "short";
      outcomes.set(name, (outcomes.get(name) ?? 0) + 1);
    }
    const count = (name: string): number => outcomes.get(name) ?? 0;
    expect(count("corruption")).toBeGreaterThan(RUNS / 4);
    expect(count("whole")).toBeGreaterThan(RUNS / 20);
    expect(count("corruption") + count("whole") + count("short")).toBe(RUNS);
    expect(count("short")).toBeLessThan(RUNS / 40);
  });
});
