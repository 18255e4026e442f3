/**
 * What the embedded cluster remembers between two starts, and its form in the file: JSON, so that a person can read it.
 *
 *     { "clusterId": "…", "hostId": "…", "incarnation": 3, "shardCount": 16, "workers": 1,
 *       "owners": [ { "from": 0, "count": 16, "worker": 0, "term": 1 } ] }
 *
 * `owners` lists runs of shards, ascending and without gaps: 65,536 shards of one worker take one line.
 */
import { PinionError, SHARD_COUNT_MAX, term, type Term } from "@pinion/core";

export interface ShardRun {
  readonly from: number;
  readonly count: number;
  readonly worker: number;
  readonly term: Term;
}

export interface ClusterState {
  readonly clusterId: string;
  readonly hostId: string;
  readonly incarnation: number;
  readonly shardCount: number;
  readonly workers: number;
  readonly owners: readonly ShardRun[];
}

export function encodeClusterState(state: ClusterState): Uint8Array {
  return Buffer.from(`${JSON.stringify(state, undefined, 2)}\n`);
}

/** @throws `corruption`: the file's checksum was right, so it was written like that. */
export function decodeClusterState(bytes: Uint8Array): ClusterState {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (cause) {
    throw notOurs("it is not JSON", cause);
  }
  const fields = fieldsOf(value);
  const shardCount = positive(fields, "shardCount");
  const workers = positive(fields, "workers");
  if (shardCount > SHARD_COUNT_MAX) throw notOurs(`shardCount is ${shardCount}`);
  const state: ClusterState = {
    clusterId: text(fields, "clusterId"),
    hostId: text(fields, "hostId"),
    incarnation: positive(fields, "incarnation"),
    shardCount,
    workers,
    owners: runsOf(fields["owners"], shardCount, workers),
  };
  return Object.freeze(state);
}

function runsOf(value: unknown, shardCount: number, workers: number): readonly ShardRun[] {
  if (!Array.isArray(value)) throw notOurs("owners is not a list");
  let next = 0;
  const runs = value.map((item: unknown): ShardRun => {
    const fields = fieldsOf(item);
    const count = positive(fields, "count");
    const worker = fields["worker"];
    if (fields["from"] !== next) throw notOurs(`owners leave a gap at shard ${next}`);
    if (typeof worker !== "number" || !Number.isInteger(worker) || worker < 0 || worker >= workers)
      throw notOurs(`shard ${next} belongs to worker ${String(worker)} of ${workers}`);
    const run = { from: next, count, worker, term: term(positive(fields, "term")) };
    next += count;
    return run;
  });
  if (next !== shardCount) throw notOurs(`owners cover ${next} of ${shardCount} shards`);
  return runs;
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw notOurs("it is not an object");
  return value as Record<string, unknown>;
}

function positive(fields: Record<string, unknown>, name: string): number {
  const value = fields[name];
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
  throw notOurs(`${name} is ${JSON.stringify(value)}`);
}

function text(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value === "string" && value !== "") return value;
  throw notOurs(`${name} is ${JSON.stringify(value)}`);
}

function notOurs(what: string, cause?: unknown): PinionError {
  return new PinionError("corruption", `the cluster's state is not what was written: ${what}`, {
    details: { what },
    cause,
  });
}
