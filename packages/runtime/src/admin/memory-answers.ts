/** Pins, extents and segments of a worker, for the command line (memory-requests.ts). */
import { formatActorId, parseActorId, PinionError } from "@pinion/core";
import {
  connectionsOf,
  growBytesOfKind,
  storedFacts,
  type ActorExtents,
  type ConnectedExtent,
  type ExtentFacts,
  type PinFilter,
  type PinListing,
  type SegmentStateStore,
  type StoredExtent,
} from "@pinion/storage";
import type { DeclaredExtents } from "../activation/declared-extents.ts";
import { unknownType } from "../activation/unknown-name.ts";
import { extentsOfRecovered } from "../checkpoint/actor-records.ts";
import type { WorkerMemory } from "../memory/worker-memory.ts";
import { actorKeyOfId, parseActorKey } from "../records/actor-key.ts";
import type { OwnedShard, WorkerCore } from "../worker/worker-core.ts";
import {
  PINS_MAX,
  type ActorExtentsReport,
  type ExtentRow,
  type PinRow,
  type PinsQuery,
  type SegmentsRow,
  type WorkerPins,
} from "./memory-requests.ts";

/** A segment of 64 MiB. */
const SEGMENT_PAGES = 16_384;

/** @throws `invalid-argument`, `invalid-actor-id` */
export function pinsOf(worker: number, memory: WorkerMemory, query: PinsQuery): WorkerPins {
  const { limit, priority, actor, numaNode, degraded } = query;
  if (!Number.isInteger(limit) || limit < 1 || limit > PINS_MAX)
    throw new PinionError("invalid-argument", `limit must be 1 to ${PINS_MAX}`);
  const filter: PinFilter = {
    limit: limit + 1,
    ...(priority === undefined ? {} : { priority }),
    ...(actor === undefined ? {} : { owner: actorKeyOfId(parseActorId(actor)) }),
    ...(numaNode === undefined ? {} : { numaNode }),
    ...(degraded === true ? { degraded } : {}),
  };
  const found = memory.pinList(filter);
  const {
    door,
    degraded: doorDegraded,
    pins: stats,
    arena,
    facts,
    home,
    pressure,
  } = memory.report();
  const { forecast } = pressure;
  return {
    worker,
    door,
    doorDegraded: doorDegraded ?? null,
    stats,
    arena,
    facts,
    home,
    pressure: {
      action: forecast?.action ?? "none",
      trend: forecast?.trend ?? null,
      usedShare: forecast?.share ?? null,
      timeToCriticalMs: forecast?.timeToCriticalMs ?? null,
    },
    types: memory.typeUse(),
    pins: found.slice(0, limit).map((pin) => pinRow(worker, pin)),
    more: found.length > limit,
  };
}

function pinRow(worker: number, pin: PinListing): PinRow {
  const { owner, key, state, priority, askedPriority, bytes, locked, heat } = pin;
  return {
    actor: formatActorId(parseActorKey(owner)),
    // A pin's key is the actor, "#" and the extent's name, which has no "#".
    extent: key.slice(key.lastIndexOf("#") + 1),
    worker,
    state,
    priority,
    askedPriority,
    bytes,
    locked,
    notLocked: pin.notLocked ?? null,
    heat,
    numaNode: pin.numaNode ?? null,
    localShare: pin.localShare ?? null,
    hugeBytes: pin.hugeBytes ?? null,
    residentMs: pin.residentMs === undefined ? null : Math.round(pin.residentMs),
    degraded: pin.degraded ?? null,
    error: pin.error?.message ?? null,
  };
}

/**
 * The extents of one actor, without bringing it into memory.
 * @throws `invalid-actor-id`, `unknown-actor-type` with the nearest names, `relocate`, `not-found`, errors of the store
 */
export async function extentsOf(
  core: WorkerCore,
  worker: number,
  memory: WorkerMemory,
  text: string,
): Promise<ActorExtentsReport> {
  const id = parseActorId(text);
  const type = core.types.get(id.type);
  if (type === undefined) throw unknownType(id.type, [...core.types.keys()]);
  const owned = core.owned(id.type, id.key);
  if (owned === undefined)
    throw new PinionError("relocate", `${text} does not live on worker ${worker}`);
  const common = {
    id: formatActorId(id),
    worker,
    shard: owned.shard.id,
    profile: type.extents?.profile ?? null,
  };
  const actor = actorKeyOfId(id);
  const activation = core.catalog.find(id.type, id.namespace, id.branch, id.key);
  if (activation?.extents !== undefined) {
    const nowMs = core.ports.clock.nowMs();
    const row = (extents: ActorExtents): ExtentRow[] =>
      [...extents.images].map((image) => {
        const { name } = image.identity;
        const pin = memory.pinOf(actor, name);
        return {
          ...identityOf(image.identity, type.extents),
          ...factsOf(image.facts, extents.connected(name)),
          growBytes: image.growth.bytes,
          lengthBytes: image.lengthBytes,
          resident: image.resident,
          locked: pin?.locked ?? false,
          notLocked: pin?.notLocked ?? null,
          degraded: pin?.degraded ?? null,
          error: pin?.error?.message ?? null,
          priority: pin?.priority ?? null,
          dirtyPages: image.dirtyPages,
          heat: image.usage.heat.at(nowMs),
          accesses: image.usage.counts,
        };
      });
    return { ...common, activation: activation.state, extents: row(activation.extents) };
  }
  const extents = await storedRows(core, owned, actor, type.extents);
  if (extents.length === 0 && type.extents === undefined) {
    throw new PinionError(
      "not-found",
      `${text} has no extents: its type declares none (memory.extents of defineActor)`,
      { details: { type: type.name } },
    );
  }
  return { ...common, activation: activation?.state ?? "stored", extents };
}

const identityOf = (
  { name, kind, version }: { readonly name: string; readonly kind: string; version: number },
  declared: DeclaredExtents | undefined,
): Pick<ExtentRow, "name" | "structure" | "version" | "declared"> => ({
  name,
  structure: kind,
  version,
  declared: declared?.names.includes(name) ?? false,
});

function factsOf(
  { flags, attributes }: ExtentFacts,
  connections: readonly ConnectedExtent[],
): Pick<ExtentRow, "flags" | "attributes" | "connections"> {
  const { hot, prefetch, hugePages = null, numaNode = null } = flags;
  const { rowGroup = null, partition = null, timeBucket = null } = attributes;
  return {
    flags: { hot, prefetch, hugePages, numaNode },
    attributes: { rowGroup, partition, timeBucket },
    connections,
  };
}

async function storedRows(
  core: WorkerCore,
  owned: OwnedShard,
  actor: string,
  declared: DeclaredExtents | undefined,
): Promise<ExtentRow[]> {
  const { store } = core.ports;
  const shard = owned.shard.id;
  const absent = {
    resident: false,
    locked: false,
    notLocked: null,
    degraded: null,
    error: null,
    priority: null,
    heat: null,
    accesses: null,
  };
  const row = (
    extent: Pick<StoredExtent, "name" | "kind" | "version" | "lengthBytes">,
    facts: ExtentFacts,
    dirtyPages: number,
  ): ExtentRow => ({
    ...identityOf(extent, declared),
    ...absent,
    ...factsOf(facts, connectionsOf(facts.links, [])),
    growBytes:
      declared?.declarations[extent.name]?.options.growBytes ?? growBytesOfKind(extent.kind),
    lengthBytes: extent.lengthBytes,
    dirtyPages,
  });
  // What the log knows and no checkpoint has yet.
  const later = owned.recovered.get(actor);
  const opened = later && (await extentsOfRecovered(store, shard, actor, later));
  if (opened !== undefined) {
    try {
      return [...opened.images].map(({ identity, lengthBytes, facts, dirtyPages }) =>
        row({ ...identity, lengthBytes }, facts, dirtyPages),
      );
    } finally {
      opened.abandon();
    }
  }
  return (await store.loadExtents(shard, actor)).map((stored) =>
    row(stored, storedFacts(actor, stored.name, stored.facts), 0),
  );
}

export async function segmentsOf(worker: number, store: SegmentStateStore): Promise<SegmentsRow[]> {
  const rows: SegmentsRow[] = [];
  for (const [shard, stats] of await store.stats()) {
    const { segments, livePages, writtenPages, cleanedPages, sequence } = stats;
    const liveShare = segments === 0 ? 0 : livePages / (segments * SEGMENT_PAGES);
    const since = { writtenPages, cleanedPages };
    rows.push({ shard, worker, segments, livePages, liveShare, ...since, sequence });
  }
  return rows.sort((a, b) => a.shard - b.shard);
}
