/** The state store, with errors that say which volume, extent and page they are about, in its user's words. */
import { isPinionError, PinionError, type ShardId } from "@pinion/core";
import { SegmentStateStore } from "../state/segment-state-store.ts";
import type { ActorKey, ExtentPages, StoredExtent } from "../state/state-store.ts";

const OF_A_PAGE: ReadonlySet<string> = new Set(["corruption", "io-error"]);

export class NamedStateStore extends SegmentStateStore {
  readonly #volumeOf = new WeakMap<StoredExtent, string>();

  override async loadExtents(shard: ShardId, volume: ActorKey): Promise<readonly StoredExtent[]> {
    const extents = await super.loadExtents(shard, volume);
    for (const extent of extents) this.#volumeOf.set(extent, volume);
    return extents;
  }

  override async extentPages(shard: ShardId, extent: StoredExtent): Promise<ExtentPages> {
    const pages = await super.extentPages(shard, extent);
    const volume = this.#volumeOf.get(extent) ?? "";
    return {
      ...pages,
      read: async (page) => {
        try {
          return await pages.read(page);
        } catch (e) {
          if (!isPinionError(e) || !OF_A_PAGE.has(e.code)) throw e;
          throw new PinionError(
            e.code,
            `volume "${volume}", extent "${extent.name}", page ${page}: ${e.message}`,
            { cause: e, details: { ...e.details, volume, extent: extent.name, page } },
          );
        }
      },
    };
  }
}
