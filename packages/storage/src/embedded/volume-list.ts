/** The names of all volumes: those of the state store, with what the log and open volumes say beyond it. */
import type { StateStore } from "../state/state-store.ts";
import type { PendingVolumes } from "./pending-volumes.ts";
import { SHARD } from "./store-log.ts";

export interface VolumeListOptions {
  /** Only names that begin with it. */
  readonly prefix?: string;
  /** Names at most. Default 1,000. */
  readonly limit?: number;
  /** Only names behind this one: the last of the page before. */
  readonly after?: string;
}

const LIMIT_DEFAULT = 1_000;

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** @param live names that exist whatever the store says */
export async function listVolumes(
  store: StateStore,
  pending: PendingVolumes,
  live: ReadonlySet<string>,
  options: VolumeListOptions,
): Promise<string[]> {
  const { prefix = "", limit = LIMIT_DEFAULT, after } = options;
  const names = new Set<string>();
  const deleted = new Set<string>();
  const add = (name: string): void => {
    if (!name.startsWith(prefix) || (after !== undefined && byBytes(name, after) <= 0)) return;
    names.add(name);
  };
  for (const [name, volume] of pending.entries()) {
    if (volume.deleted) deleted.add(name);
    else add(name);
  }
  for (const name of live) add(name);
  let from = after;
  for (let found = 0; found < limit;) {
    const page = await store.list(SHARD, {
      limit,
      prefix,
      ...(from === undefined ? {} : { after: from }),
    });
    for (const { actor } of page) {
      if (deleted.has(actor)) continue;
      names.add(actor);
      found++;
    }
    if (page.length < limit) break;
    from = page.at(-1)?.actor;
  }
  return [...names].sort(byBytes).slice(0, limit);
}
