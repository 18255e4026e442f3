/**
 * Which extents an actor has, and in which volume of its shard the pages of each lie.
 *
 * | table | key | value |
 * |---|---|---|
 * | state-extents | u16 shard, actor | as all values of the state store begin, then u16 count and for each extent: u32 volume, f64 bytes, u16 version of its format, u8 length and kind, u8 length and name, u16 length and facts |
 * | state-meta | "volumes" u16 shard | the number of the next new volume, u32 |
 *
 * E1 a volume belongs to one extent for ever: numbers are not given out twice.
 * E2 extents that a checkpoint does not name stay as they are; those of an actor that is deleted go with it.
 */
import { PinionError, type ShardId } from "@pinion/core";
import type { KvStore, KvWrite } from "../kv/kv-store.ts";
import type { VolumeWrite } from "../store/shard-commit.ts";
import type { ShardStore, VolumeChanges } from "../store/shard-store.ts";
import * as keys from "./state-keys.ts";
import { Table } from "./state-keys.ts";
import type { ActorKey, ExtentChange, ExtentPages, StoredExtent } from "./state-store.ts";
import {
  decodeExtents,
  decodeFormat,
  decoding,
  encodeExtents,
  encodeFormat,
} from "./state-values.ts";

/** Below it are the directory and what may come. */
const FIRST_VOLUME = 16;

export interface ExtentCheckpoint {
  readonly writes: readonly KvWrite[];
  readonly volumes: VolumeChanges;
}

export class ExtentTable {
  readonly #kv: KvStore;
  readonly #store: ShardStore | undefined;

  /** @param store where volumes are; without one there are no extents */
  constructor(kv: KvStore, store: ShardStore | undefined) {
    this.#kv = kv;
    this.#store = store;
  }

  /** @throws `corruption`, `format-too-new` */
  async load(shard: ShardId, actor: ActorKey): Promise<StoredExtent[]> {
    const key = keys.actorKeyBytes(shard, actor);
    return this.#decode(shard, actor, key, await this.#kv.get(Table.extents, key));
  }

  async pages(extent: StoredExtent): Promise<ExtentPages> {
    const store = this.#volumes();
    const volume = await store.holdVolume(extent.volume);
    if (volume === undefined) {
      const { name, volume: id } = extent;
      throw new PinionError("corruption", `volume ${id} of extent "${name}" is missing`, {
        details: { volume: id, extent: name },
      });
    }
    return {
      peek: (page) => volume.peek(page),
      read: (page) => volume.read(page),
      runs: (from, to) => volume.runs(from, to),
      file: (segment) => store.segmentFile(segment),
      close: () => store.releaseVolume(volume),
    };
  }

  /** @param deleted actors that go, with whatever they have */
  async checkpoint(
    shard: ShardId,
    changed: ReadonlyMap<ActorKey, readonly ExtentChange[]>,
    deleted: readonly ActorKey[],
  ): Promise<ExtentCheckpoint> {
    const writes: KvWrite[] = [];
    const volumes: VolumeWrite[] = [];
    const removed: number[] = [];
    const actors = [...changed.keys(), ...deleted];
    const places = actors.map((actor) => keys.actorKeyBytes(shard, actor));
    const before = await this.#kv.getMany(places.map((key) => ({ table: Table.extents, key })));
    const metaKey = keys.volumesKey(shard);
    let next: number | undefined;
    for (const [i, actor] of actors.entries()) {
      const key = places[i] as Uint8Array;
      const old = this.#decode(shard, actor, key, before[i]);
      const changes = changed.get(actor);
      if (changes === undefined) {
        removed.push(...old.map(({ volume }) => volume));
        if (old.length > 0) writes.push({ table: Table.extents, key, value: undefined });
        continue;
      }
      const extents = new Map(old.map((extent) => [extent.name, extent] as const));
      for (const change of changes) {
        const known = extents.get(change.name);
        if (known === undefined) next ??= await this.#nextVolume(metaKey);
        const volume = known?.volume ?? (next as number);
        if (known === undefined) next = volume + 1;
        const { name, kind, version, lengthBytes, facts, pageCount, pages, pagesMax } = change;
        extents.set(name, { name, kind, version, lengthBytes, volume, facts });
        volumes.push({ volume, pageCount, pages, ...(pagesMax === undefined ? {} : { pagesMax }) });
      }
      writes.push({ table: Table.extents, key, value: encodeExtents(key, [...extents.values()]) });
    }
    if (next !== undefined) {
      writes.push({ table: Table.meta, key: metaKey, value: encodeFormat(metaKey, next) });
    }
    return { writes, volumes: { writes: volumes, removed } };
  }

  async #nextVolume(metaKey: Uint8Array): Promise<number> {
    const value = await this.#kv.get(Table.meta, metaKey);
    return value === undefined ? FIRST_VOLUME : decodeFormat(metaKey, value);
  }

  #decode(
    shard: ShardId,
    actor: ActorKey,
    key: Uint8Array,
    value: Uint8Array | undefined,
  ): StoredExtent[] {
    if (value === undefined) return [];
    return decoding(`the extents of ${actor}`, { shard, actor }, () => decodeExtents(key, value));
  }

  #volumes(): ShardStore {
    if (this.#store !== undefined) return this.#store;
    throw new PinionError("internal", "extents in a store without volumes");
  }
}
