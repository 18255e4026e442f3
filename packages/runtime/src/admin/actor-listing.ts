/**
 * The actors of a worker in order of their keys, a page at a time: those in memory, those in the store, and those that only
 * the log knows yet.
 *
 * A1 memory and time depend on the page, not on the number of actors, but for one look at each activation; that look yields
 *    to the event loop.
 * A2 keys are ordered by their UTF-8 bytes, like the store's, so that a page begins where the last one ended.
 */
import { formatActorId, PinionError } from "@pinion/core";
import type { ActorKey, ActorSummary } from "@pinion/storage";
import { actorKeyOf, actorKeyOfId, parseActorKey } from "../records/actor-key.ts";
import type { OwnedShard, WorkerCore } from "../worker/worker-core.ts";
import {
  ACTORS_PAGE_MAX,
  type ActorRow,
  type ActorsPage,
  type ActorsQuery,
} from "./worker-requests.ts";

/** Activations looked at before the event loop goes on. */
const SLICE = 5_000;
/** Shards whose stores are read at once. */
const SHARDS_AT_ONCE = 64;

/** @throws `invalid-argument`, `invalid-actor-id`, errors of the store */
export async function listActors(core: WorkerCore, query: ActorsQuery): Promise<ActorsPage> {
  const { limit, after } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > ACTORS_PAGE_MAX)
    throw new PinionError("invalid-argument", `limit must be 1 to ${ACTORS_PAGE_MAX}`);
  const page = new KeyPage(limit + 1, prefixOf(query), after);
  await addActivations(core, page);
  const shards = [...core.shards.values()];
  for (let i = 0; i < shards.length; i += SHARDS_AT_ONCE)
    await Promise.all(
      shards.slice(i, i + SHARDS_AT_ONCE).map((owned) => addStored(core, owned, page)),
    );
  const rows = page.rows();
  const actors = rows.slice(0, limit);
  const last = actors.at(-1);
  return { actors: actors.map(([, row]) => row), next: rows.length > limit ? last![0] : null };
}

function prefixOf({ type, prefix = "", namespace, branch }: ActorsQuery): string {
  if (type === undefined) {
    if (prefix !== "" || namespace !== undefined || branch !== undefined)
      throw new PinionError("invalid-argument", "prefix, namespace and branch need a type");
    return "";
  }
  // Checked with some key, because the prefix need not be one.
  const id = parseActorKey(actorKeyOf(namespace ?? "default", branch ?? "main", type, "x"));
  return actorKeyOfId({ ...id, key: prefix });
}

async function addActivations(core: WorkerCore, page: KeyPage): Promise<void> {
  let looked = 0;
  for (const type of core.types.keys()) {
    for (const activation of core.catalog.ofType(type)) {
      page.add(activation.actor, () => ({
        id: formatActorId(activation.id),
        cursor: activation.actor,
        shard: activation.shard.id,
        state: activation.state,
        storedBytes: null,
        lsn: activation.lastLsn,
      }));
      if (++looked % SLICE === 0) await new Promise<void>((go) => core.ports.clock.defer(go));
    }
  }
}

async function addStored(core: WorkerCore, owned: OwnedShard, page: KeyPage): Promise<void> {
  const shard = owned.shard.id;
  const { prefix, after, size: limit } = page;
  const stored = await core.ports.store.list(shard, {
    limit,
    prefix,
    ...(after === undefined ? {} : { after }),
  });
  for (const summary of stored) page.addStored(summary);
  for (const [actor, { lsn }] of owned.recovered)
    page.add(actor, () => ({
      id: idText(actor),
      cursor: actor,
      shard,
      state: "stored",
      storedBytes: null,
      lsn,
    }));
}

const idText = (actor: ActorKey): string => formatActorId(parseActorKey(actor));

/** The first `size` actors after a key, of those with a prefix. */
class KeyPage {
  readonly size: number;
  readonly prefix: string;
  readonly after: ActorKey | undefined;
  #rows = new Map<ActorKey, ActorRow>();

  constructor(size: number, prefix: string, after: ActorKey | undefined) {
    this.size = size;
    this.prefix = prefix;
    this.after = after;
  }

  add(actor: ActorKey, row: () => ActorRow): void {
    if (!actor.startsWith(this.prefix) || this.#rows.has(actor)) return;
    if (this.after !== undefined && compareKeys(actor, this.after) <= 0) return;
    this.#rows.set(actor, row());
    if (this.#rows.size > this.size * 4) this.#rows = new Map(this.rows());
  }

  /** An actor in memory keeps its row: the store only adds how large it is there. */
  addStored({ actor, shard, stateBytes, lsn }: ActorSummary): void {
    const known = this.#rows.get(actor);
    if (known !== undefined) this.#rows.set(actor, { ...known, storedBytes: stateBytes });
    else
      this.add(actor, () => ({
        id: idText(actor),
        cursor: actor,
        shard,
        state: "stored",
        storedBytes: stateBytes,
        lsn,
      }));
  }

  rows(): [ActorKey, ActorRow][] {
    return [...this.#rows].sort(([a], [b]) => compareKeys(a, b)).slice(0, this.size);
  }
}

const ASCII = /^[\u0001-\u007f]*$/;

export function compareKeys(a: ActorKey, b: ActorKey): number {
  if (ASCII.test(a) && ASCII.test(b)) return a < b ? -1 : a > b ? 1 : 0;
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
