/**
 * Pages of a volume on their way into a checkpoint as they come: for volumes that are larger than what should be in memory at once. For
 * trees, which come back to the same page, see `VolumeWriter`.
 *
 * P1 a page that is placed is not read again before the checkpoint is published.
 * P2 a writer that is given up leaves no trace.
 */
import { isDamage } from "../segment/damage.ts";
import { PageKind, type PageEntry } from "../segment/page-entry.ts";
import type { CheckpointWriter } from "../segment/checkpoint-writer.ts";
import { LiveChanges } from "../segment/live-pages.ts";
import { MapWriter } from "./page-map.ts";
import type { Volume, VolumeChange } from "./volume.ts";

type Breathe = () => Promise<void> | undefined;

export class PagesWriter {
  readonly #volume: Volume;
  readonly #map: MapWriter;
  readonly #checkpoint: CheckpointWriter;
  readonly #breathe: Breathe;
  readonly #live = new LiveChanges();

  /** @param breathe called between pages; a promise lets the event loop go on */
  constructor(volume: Volume, checkpoint: CheckpointWriter, breathe: Breathe) {
    this.#volume = volume;
    this.#map = new MapWriter(volume.map);
    this.#checkpoint = checkpoint;
    this.#breathe = breathe;
  }

  /** @param bytes 4,096; copied before this resolves */
  async write(page: number, bytes: Uint8Array): Promise<void> {
    const touched = this.#map.touch(page);
    if (touched !== undefined) await touched;
    const name = { volume: this.#volume.id, kind: PageKind.data, level: 0, index: page };
    this.#set(page, this.#checkpoint.add(name, bytes));
    const pause = this.#checkpoint.drain() ?? this.#breathe();
    if (pause !== undefined) await pause;
  }

  /** Takes out the pages from `page` on. Before anything is written behind it. */
  async cut(page: number): Promise<void> {
    for await (const [gone] of this.#volume.map.entries(page)) {
      await this.#map.touch(gone);
      this.#set(gone, undefined);
      await this.#breathe();
    }
  }

  /** Writes a page again as it is, to empty its segment, unless this writer has replaced it, or it is damaged and stays where it is. */
  async rewrite(page: number, entry: PageEntry): Promise<boolean> {
    const bytes = await this.#readCurrent(page, entry);
    if (bytes === undefined) return false;
    await this.write(page, bytes);
    return true;
  }

  async #readCurrent(page: number, entry: PageEntry): Promise<Uint8Array | undefined> {
    if (!(await this.touch(page))) return undefined;
    const current = this.#map.get(page);
    if (current?.segment !== entry.segment || current.page !== entry.page) return undefined;
    try {
      return await this.#volume.read(page);
    } catch (e) {
      if (isDamage(e)) return undefined;
      throw e;
    }
  }

  /** As `rewrite`, for the nodes of the map that lead to `page`. */
  async touch(page: number): Promise<boolean> {
    try {
      await this.#map.touch(page);
      return true;
    } catch (e) {
      if (isDamage(e)) return false;
      throw e;
    }
  }

  /** Places the map. */
  async finish(): Promise<VolumeChange> {
    const { id } = this.#volume;
    const map = await this.#map.finish(id, this.#checkpoint, this.#live, this.#breathe);
    return { root: { volume: id, map, pageCount: 0, treeRoot: 0 }, live: this.#live };
  }

  /** From now on readers see it: the checkpoint is durable. */
  publish({ root }: VolumeChange): void {
    this.#map.publish(root.map);
    this.#volume.adopt(root, new Map());
  }

  #set(page: number, entry: PageEntry | undefined): void {
    const before = this.#map.set(page, entry);
    if (before !== undefined) this.#live.replaced(before);
    if (entry !== undefined) this.#live.added(entry);
  }
}
