/**
 * The way out for damaged actors: what there is of them, in the store and in the log, is given up. They are as if they
 * had never been called; where checkpoints could not have them, these are whole again, and the log is cut.
 *
 * X1 only those that a checkpoint, or a look at all that the store has of them, has just found damaged, so nobody loses one that can be read, now or by a
 *    newer version.
 * X2 they go with a checkpoint that has all else of their shard (checkpointer.ts, C6): all damaged ones of a shard together, or none.
 * X3 before the worker serves: none is in memory, and no call of one comes in between.
 * X4 done, or nothing: what did not go is as damaged as before, and no later checkpoint discards it.
 */
import { formatActorId, isPinionError, parseActorId, PinionError } from "@pinion/core";
import { PAGE_BYTES, type ActorKey, type StateStore } from "@pinion/storage";
import type { Checkpointer } from "../checkpoint/checkpointer.ts";
import { actorKeyOfId, parseActorKey } from "../records/actor-key.ts";
import type { OwnedShard, WorkerCore } from "./worker-core.ts";

interface Doomed {
  readonly actor: ActorKey;
  readonly owned: OwnedShard;
}

/**
 * @param ids of actors of any worker, text form
 * @throws `invalid-actor-id`; `corruption` when others of a shard are damaged as well; what the checkpoint says: nothing was discarded
 */
export async function discardActors(
  core: WorkerCore,
  checkpointer: Checkpointer,
  ids: readonly string[],
): Promise<void> {
  const doomed: Doomed[] = [];
  for (const id of ids.map(parseActorId)) {
    const owned = core.owned(id.type, id.key);
    if (owned !== undefined) doomed.push({ owned, actor: actorKeyOfId(id) });
  }
  if (doomed.length === 0) return;
  await checkpointer.run(); // Says which are damaged, of those that the log has changes of.
  const { warn } = core.ports.logger;
  const damaged: Doomed[] = [];
  for (const each of doomed) {
    const { actor, owned } = each;
    const failure =
      checkpointer.unread.get(actor) ?? (await failureOf(core.ports.store, owned, actor));
    if (isPinionError(failure, "corruption")) damaged.push(each);
    else warn("an actor is not discarded: it is not damaged", failure, { actor: textOf(actor) });
  }
  if (damaged.length === 0) return;
  for (const { owned, actor } of damaged) owned.discarding.add(actor);
  try {
    await checkpointer.run();
  } finally {
    for (const { owned, actor } of damaged) owned.discarding.delete(actor);
  }
  const left: Doomed[] = [];
  for (const each of damaged)
    if (checkpointer.unread.has(each.actor) || !(await isGone(core.ports.store, each)))
      left.push(each);
  for (const { actor } of damaged.filter((each) => !left.includes(each)))
    warn("a damaged actor was discarded", undefined, { actor: textOf(actor) });
  if (left.length > 0) throw notDone(left, checkpointer);
}

/**
 * Reads all that the store has of an actor. @returns what goes wrong: `corruption` alone is damage; a disk that fails may work again, and a newer
 * version reads what this one does not
 */
async function failureOf(
  store: StateStore,
  { shard }: OwnedShard,
  actor: ActorKey,
): Promise<unknown> {
  try {
    await store.load(shard.id, actor);
    for (const extent of await store.loadExtents(shard.id, actor)) {
      const pages = await store.extentPages(shard.id, extent);
      try {
        for (let page = 0; page * PAGE_BYTES < extent.lengthBytes; page++) await pages.read(page);
      } finally {
        pages.close();
      }
    }
    return undefined;
  } catch (error) {
    return error;
  }
}

async function isGone(store: StateStore, { owned, actor }: Doomed): Promise<boolean> {
  try {
    return (await store.load(owned.shard.id, actor)) === undefined;
  } catch {
    return false; // as damaged as before
  }
}

const textOf = (actor: ActorKey): string => formatActorId(parseActorKey(actor));

function notDone(left: readonly Doomed[], { unread, lastError }: Checkpointer): PinionError {
  const named = new Set(left.map(({ actor }) => actor));
  const actors = [...named].map(textOf).join(" ");
  const others = [...unread.keys()].filter((actor) => !named.has(actor)).map(textOf);
  return new PinionError(
    "corruption",
    `not discarded: ${actors}: ` +
      (others.length === 0
        ? (lastError ?? "the checkpoint did not have it")
        : `damaged actors of a shard can only be discarded together; also damaged: ${others.join(" ")}`),
    { details: { actors, others: others.join(" ") } },
  );
}
