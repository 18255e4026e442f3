/**
 * A cluster of one host without a coordinator: membership and shard map over one durable cell.
 *
 * E1 each opening is a new incarnation, stored before it is told to anybody (membership I3).
 * E2 the shard count and the number of workers are those of the first opening; other ones are refused, because ids would
 *    hash elsewhere and logs would be looked for in the wrong worker.
 */
import { FIRST_TERM, PinionError, SHARD_COUNT_MAX, type Rng } from "@pinion/core";
import type { Member, Membership, MembershipView, MemberWorker } from "../membership/membership.ts";
import type { ShardMap, ShardMapView, ShardOwner } from "../shard-map/shard-map.ts";
import {
  decodeClusterState,
  encodeClusterState,
  type ClusterState,
  type ShardRun,
} from "./cluster-state.ts";
import type { DurableCell } from "./durable-cell.ts";
import { ViewSource } from "./view-source.ts";

export interface EmbeddedClusterOptions {
  /** 1 … 65,536. */
  readonly shardCount: number;
  /** Workers of this host, ≥ 1 and no more than shards. */
  readonly workers: number;
  readonly rng: Rng;
}

export interface EmbeddedCluster {
  readonly membership: Membership;
  readonly shardMap: ShardMap;
}

/**
 * Opens the cluster in this cell, or founds one.
 * @throws `config-invalid` naming the value in use and the one asked for; `corruption`, `format-too-new`, errors of the disk
 */
export async function openEmbeddedCluster(
  cell: DurableCell,
  options: EmbeddedClusterOptions,
): Promise<EmbeddedCluster> {
  checkOptions(options);
  const bytes = await cell.load();
  const before = bytes === undefined ? undefined : decodeClusterState(bytes);
  if (before !== undefined) checkUnchanged(before, options);
  const state: ClusterState =
    before === undefined ? found(options) : { ...before, incarnation: before.incarnation + 1 };
  await cell.store(encodeClusterState(state)); // E1
  return { membership: new EmbeddedMembership(state), shardMap: new EmbeddedShardMap(state) };
}

function checkOptions({ shardCount, workers }: EmbeddedClusterOptions): void {
  if (!Number.isInteger(shardCount) || shardCount < 1 || shardCount > SHARD_COUNT_MAX)
    throw invalid(
      "shardCount",
      shardCount,
      `shardCount must be between 1 and ${SHARD_COUNT_MAX}, not ${shardCount}`,
    );
  if (!Number.isInteger(workers) || workers < 1 || workers > shardCount)
    throw invalid(
      "workers",
      workers,
      `workers must be between 1 and the number of shards (${shardCount}), not ${workers}`,
    );
}

function invalid(key: string, value: number, message: string): PinionError {
  return new PinionError("config-invalid", message, { details: { key, value } });
}

/** E2 */
function checkUnchanged(state: ClusterState, options: EmbeddedClusterOptions): void {
  for (const key of ["shardCount", "workers"] as const) {
    if (state[key] === options[key]) continue;
    throw new PinionError(
      "config-invalid",
      `${key} is ${options[key]}, but this data directory was created with ${state[key]}; it cannot be changed later: set ${key} to ${state[key]}, or use another data directory`,
      { details: { key, value: options[key], created: state[key] } },
    );
  }
}

function found({ shardCount, workers, rng }: EmbeddedClusterOptions): ClusterState {
  return Object.freeze({
    clusterId: randomId(rng),
    hostId: randomId(rng),
    incarnation: 1,
    shardCount,
    workers,
    owners: evenRuns(shardCount, workers),
  });
}

/** Neighbouring shards share a worker, and no worker has two shards more than another. */
function evenRuns(shardCount: number, workers: number): ShardRun[] {
  const runs: ShardRun[] = [];
  for (let worker = 0; worker < workers; worker++) {
    const from = Math.floor((worker * shardCount) / workers);
    const end = Math.floor(((worker + 1) * shardCount) / workers);
    runs.push({ from, count: end - from, worker, term: FIRST_TERM });
  }
  return runs;
}

/** 128 random bits as 32 hexadecimal digits. */
function randomId(rng: Rng): string {
  return Array.from({ length: 4 }, () => rng.uint32().toString(16).padStart(8, "0")).join("");
}

class EmbeddedMembership implements Membership {
  readonly #source: ViewSource<MembershipView>;

  constructor(state: ClusterState) {
    const { clusterId, hostId, incarnation } = state;
    const workers = Array.from({ length: state.workers }, (_, worker) => ({ worker, address: "" }));
    const self = freezeMember({ hostId, incarnation, workers });
    this.#source = new ViewSource<MembershipView>(
      Object.freeze({ revision: 1, clusterId, members: Object.freeze([self]) }),
    );
  }

  get self(): Member {
    return this.#source.view.members[0] as Member;
  }

  view(): MembershipView {
    return this.#source.view;
  }

  subscribe(listener: (view: MembershipView) => void): () => void {
    return this.#source.subscribe(listener);
  }

  announce(workers: readonly MemberWorker[]): Promise<void> {
    const { view } = this.#source;
    const { hostId, incarnation } = this.self;
    const self = freezeMember({ hostId, incarnation, workers });
    this.#source.publish(
      Object.freeze({ ...view, revision: view.revision + 1, members: Object.freeze([self]) }),
    );
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#source.close();
    return Promise.resolve();
  }
}

function freezeMember(member: Member): Member {
  const workers = member.workers.map((w) =>
    Object.freeze({ worker: w.worker, address: w.address }),
  );
  return Object.freeze({ ...member, workers: Object.freeze(workers) });
}

/** Nothing moves on one host: the first view is the only one. */
class EmbeddedShardMap implements ShardMap {
  readonly #source: ViewSource<ShardMapView>;

  constructor(state: ClusterState) {
    const owners: ShardOwner[] = [];
    for (const { count, worker, term } of state.owners) {
      // One object per run: 65,536 shards cost 65,536 references.
      const owner = Object.freeze({ hostId: state.hostId, worker, term });
      for (let i = 0; i < count; i++) owners.push(owner);
    }
    this.#source = new ViewSource<ShardMapView>(
      Object.freeze({
        revision: 1,
        shardCount: state.shardCount,
        owners: Object.freeze(owners),
      }),
    );
  }

  view(): ShardMapView {
    return this.#source.view;
  }

  subscribe(listener: (view: ShardMapView) => void): () => void {
    return this.#source.subscribe(listener);
  }

  close(): Promise<void> {
    this.#source.close();
    return Promise.resolve();
  }
}
