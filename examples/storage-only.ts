/**
 * `@pinion/storage` alone, without actors: a durable log in front of a key-value store.
 *
 *     npm run example examples/storage-only.ts
 *
 * Run it several times, or kill it whenever you like: an entry that was answered is still there the next time. The log
 * takes entries (many callers share one flush); now and then what they add up to is saved as a snapshot, and the log lets go
 * of what the snapshot covers.
 */
import { join } from "node:path";
import { FIRST_TERM, HybridClock, shardId, systemClock } from "@pinion/core";
import { LmdbKv, openLog, RealDisk, RecordKind } from "@pinion/storage";

const DIR = process.env["PINION_DATA_DIR"] ?? ".pinion/storage-only";
const SHARD = shardId(0);
const TABLE = "snapshot";
const KEY = Buffer.from("sums");

interface Entry {
  readonly account: string;
  readonly amount: number;
}

interface Snapshot {
  /** Of the last entry in it. */
  readonly lsn: number;
  readonly sums: Readonly<Record<string, number>>;
}

const disk = new RealDisk();
await disk.mkdir(DIR);
const kv = await LmdbKv.open(join(DIR, "store.mdb"));
const log = await openLog({
  disk,
  kv,
  dir: join(DIR, "log"),
  shardCount: 1,
  segmentBytes: 1 << 20,
});
const clock = new HybridClock(systemClock);

// 1. What was there: the last snapshot, and every entry that came after it.
const saved = await kv.get(TABLE, KEY);
const snapshot: Snapshot =
  saved === undefined
    ? { lsn: 0, sums: {} }
    : (JSON.parse(Buffer.from(saved).toString()) as Snapshot);
const sums = new Map(Object.entries(snapshot.sums));
let replayed = 0;
for await (const record of log.reader()) {
  if (record.kind !== RecordKind.user || record.lsn <= snapshot.lsn) continue;
  add(JSON.parse(Buffer.from(record.payload).toString()) as Entry);
  replayed++;
}
console.log(`${replayed} entries replayed on top of the snapshot:`, Object.fromEntries(sums));

// 2. New entries. `whenFlushed` resolves once the entry is on the disk; a thousand of them wait together.
const startMs = performance.now();
await Promise.all(
  Array.from({ length: 1000 }, (_, i) => record({ account: i % 2 ? "a" : "b", amount: 1 })),
);
console.log(
  `1000 durable entries in ${(performance.now() - startMs).toFixed(1)} ms:`,
  Object.fromEntries(sums),
);

// 3. A snapshot, durable before the log gives up what it covers.
if (log.appended(SHARD) - snapshot.lsn >= 2500) {
  const upTo = log.appended(SHARD);
  const end = log.position();
  const text = JSON.stringify({ lsn: upTo, sums: Object.fromEntries(sums) });
  await kv.commit([{ table: TABLE, key: KEY, value: Buffer.from(text) }]);
  await kv.sync();
  await log.retain("snapshot", end);
  console.log(`snapshot at LSN ${upTo}: the log may forget what came before`);
}

await log.close();
await kv.close();

async function record(entry: Entry): Promise<void> {
  const payload = Buffer.from(JSON.stringify(entry));
  const input = { shard: SHARD, term: FIRST_TERM, kind: RecordKind.user, timestamp: clock.tick() };
  const lsn = await log.append(input, payload);
  await log.whenFlushed(SHARD, lsn);
  add(entry);
}

function add({ account, amount }: Entry): void {
  sums.set(account, (sums.get(account) ?? 0) + amount);
}
