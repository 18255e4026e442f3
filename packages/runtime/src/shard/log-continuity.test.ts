import { hlcTime, lsn, NO_LSN, seededRng, shardId, term } from "@pinion/core";
import { openLog, RecordKind, SimDisk, SimKv, type Log, type LogPosition } from "@pinion/storage";
import { afterEach, expect, test } from "vitest";
import { LogContinuity } from "./log-continuity.ts";

const [A, B] = [shardId(0), shardId(1)];
let log: Log;

afterEach(() => log.close());

/** A log of two shards whose records take turns. @returns where each record begins, by number */
async function write(records: number): Promise<LogPosition[]> {
  const rng = seededRng(1);
  log = await openLog({
    disk: new SimDisk({ rng }),
    kv: new SimKv({ rng }),
    dir: "log",
    worker: 0,
    shardCount: 2,
    segmentBytes: 64 * 1024,
  });
  const positions: LogPosition[] = [];
  for (let i = 0; i < records; i++) {
    positions.push(log.position());
    const shard = i % 2 === 0 ? A : B;
    const input = { shard, term: term(1), kind: RecordKind.probe, timestamp: hlcTime(i) };
    await log.whenFlushed(shard, await log.append(input, Buffer.alloc(8_000)));
  }
  return positions;
}

/** What is new, when the store has A up to one LSN and B up to another. */
async function recovered(
  a: readonly [applied: number, position: LogPosition | undefined],
  b: readonly [applied: number, position: LogPosition | undefined],
): Promise<string[]> {
  const continuity = new LogContinuity(log);
  continuity.expect(A, lsn(a[0]), a[1]);
  continuity.expect(B, lsn(b[0]), b[1]);
  const found: string[] = [];
  for await (const record of continuity.records())
    if (continuity.isNew(record)) found.push(`${record.shard}:${record.lsn}`);
  return found;
}

test("records behind what each shard has are new, from the earliest position on", async () => {
  const at = await write(8);
  expect(await recovered([3, at[6]], [2, at[4]])).toEqual(["1:3", "0:4", "1:4"]);
  expect(await recovered([4, at[7]], [4, at[7]])).toEqual([]);
});

test("a shard without a checkpoint needs the log from its beginning, whatever the others have", async () => {
  const at = await write(6);
  expect(await recovered([3, at[5]], [NO_LSN, undefined])).toEqual(["1:1", "1:2", "1:3"]);
});

test("a record that is missing in between is corruption that names shard and LSNs", async () => {
  const at = await write(8);
  await expect(recovered([1, at[4]], [2, at[4]])).rejects.toMatchObject({
    code: "corruption",
    message: expect.stringContaining("shard 0: LSN 1 is followed by 3") as string,
    details: { shard: A, appliedLsn: 1, lsn: 3 },
  });
});

test("records that are missing at the end are corruption, too: the shard was quiet since", async () => {
  const at = await write(8);
  await expect(recovered([2, at[7]], [4, at[7]])).rejects.toMatchObject({
    code: "corruption",
    details: { shard: A, appliedLsn: 2, lsn: 4 },
  });
});

test("a log that begins behind a position the store asks for is corruption", async () => {
  const at = await write(40);
  await log.retain("checkpoint", at[39]);
  expect(at[39]?.segment).toBeGreaterThan(1);
  await expect(recovered([1, at[2]], [20, at[39]])).rejects.toMatchObject({ code: "corruption" });
  await expect(recovered([NO_LSN, undefined], [20, at[39]])).rejects.toMatchObject({
    code: "corruption",
    details: { shard: A },
  });
});

test("a log that is older than the store is corruption", async () => {
  const at = await write(4);
  await expect(recovered([2, at[3]], [3, at[3]])).rejects.toMatchObject({
    code: "corruption",
    message: expect.stringContaining("the log is older than the checkpoint") as string,
  });
  const behind = { segment: 9, offset: 512 };
  await expect(recovered([2, behind], [2, behind])).rejects.toMatchObject({ code: "corruption" });
});
