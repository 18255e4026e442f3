/**
 * One commit of a shard's store, from the changes to the published checkpoint: volumes first, because the directory names their new roots, then
 * the directory, then the root record (storage.md, "Checkpoint", steps 3 to 5).
 *
 * C1 nothing is published before the root record is durable; a commit that fails on the way is given up whole.
 * C2 every page that is written counts as live from then on, every page that it replaces no more: the counts go into the root record.
 * C3 what is damaged keeps nobody else from being written: it stays in its segment, and the pages behind a damaged node of a volume that is removed
 *    stay counted as live.
 */
import { assert, type Clock } from "@pinion/core";
import { BTreeWriter, type TreeWrite } from "../page/b-tree-writer.ts";
import { firstPageBelow } from "../page/page-map.ts";
import { PagesWriter } from "../page/pages-writer.ts";
import type { Volume, VolumeChange } from "../page/volume.ts";
import { VolumeWriter } from "../page/volume-writer.ts";
import { isDamage } from "../segment/damage.ts";
import type { ListedPage } from "../segment/batch-format.ts";
import type { CheckpointWriter } from "../segment/checkpoint-writer.ts";
import { LiveChanges, type LivePages } from "../segment/live-pages.ts";
import { PageKind, type PageEntry, type PageName } from "../segment/page-entry.ts";
import type { ShardSegments } from "../segment/shard-segments.ts";
import { encodeVolume, type OpenVolumes } from "./open-volumes.ts";
import { DIRECTORY_VOLUME, placeOf, VOLUMES_TABLE, volumeKey } from "./places.ts";
import { sortSliced } from "./sliced-sort.ts";

const CLEANED_PAGES_MIN = 256;
/** How long a commit may hold the event loop that has nothing else to do. */
const SLICE_MS = 0.5;
/**
 * Of the time that others have held it meanwhile, as much again: without that, a host whose turns take 100 ms each would do half a
 * millisecond of its checkpoint in between, and its log would grow without end.
 */
const SLICE_SHARE = 0.25;
const SLICE_MS_MAX = 25;

type Pages = Iterable<readonly [number, Uint8Array]> | AsyncIterable<readonly [number, Uint8Array]>;

export interface VolumeWrite {
  /** 2 … 2^32 − 1; it comes into being with its first write. */
  readonly volume: number;
  /** About how many `pages` there are: as many may be cleaned. */
  readonly pageCount: number;
  /** Pages from here on go, before `pages` are written. */
  readonly pagesMax?: number;
  /** In order of their numbers, each once: 4,096 bytes that do not change until the next are asked for. */
  readonly pages: Pages;
}

export interface CommitPorts {
  readonly segments: ShardSegments;
  readonly directory: Volume;
  readonly volumes: OpenVolumes;
  readonly live: LivePages;
  /** Page numbers of the directory without a page; taken over. */
  readonly free: number[];
  readonly clock: Clock;
}

export interface CommitResult {
  readonly live: LivePages;
  readonly free: number[];
  readonly writtenPages: number;
  readonly cleanedPages: number;
}

interface Victim {
  readonly name: PageName;
  readonly entry: PageEntry;
}

interface PlacedVolume {
  readonly volume: Volume;
  readonly writer: PagesWriter;
  readonly change: VolumeChange;
}

export class ShardCommit {
  readonly #ports: CommitPorts;
  readonly #breathe: () => Promise<void> | undefined;
  readonly #checkpoint: CheckpointWriter;
  readonly #sequence: number;
  readonly #held: Volume[] = [];
  readonly #placed: PlacedVolume[] = [];
  /** Of volumes that are removed. */
  readonly #gone = new LiveChanges();
  #cleaned = 0;

  constructor(ports: CommitPorts) {
    this.#ports = ports;
    this.#breathe = breather(ports.clock);
    this.#sequence = (ports.segments.root?.sequence ?? 0) + 1;
    this.#checkpoint = ports.segments.begin(this.#sequence, 1);
  }

  /** @param writes in any order; the last of a key counts */
  async run(
    writes: TreeWrite[],
    volumes: readonly VolumeWrite[],
    removed: readonly number[],
  ): Promise<CommitResult> {
    const { directory, live, free } = this.#ports;
    const checkpoint = this.#checkpoint;
    let root: VolumeChange;
    let next: LivePages;
    const tree = new VolumeWriter(directory, free, checkpoint, this.#breathe);
    try {
      const pages = volumes.reduce((sum, { pageCount }) => sum + pageCount, writes.length);
      const victims = await this.#victims(new Set(removed), Math.max(CLEANED_PAGES_MIN, pages));
      for (const write of volumes) await this.#placeVolume(write, victims.get(write.volume) ?? []);
      const written = new Set(volumes.map(({ volume }) => volume));
      for (const [volume, found] of victims) {
        if (volume === DIRECTORY_VOLUME || written.has(volume)) continue;
        await this.#placeVolume({ volume, pageCount: 0, pages: [] }, found);
      }
      for (const volume of removed) writes.push(await this.#remove(volume));
      for (const { change } of this.#placed) {
        const key = placeOf(VOLUMES_TABLE, volumeKey(change.root.volume));
        writes.push({ key, value: encodeVolume(change.root) });
      }
      const inOrder = lastOfEach(await sortSliced(writes, byKey, this.#breathe));
      await new BTreeWriter(tree, this.#sequence, this.#breathe).apply(inOrder);
      for (const { name } of victims.get(DIRECTORY_VOLUME) ?? []) {
        const wait =
          name.kind === PageKind.data
            ? tree.rewrite(name.index)
            : tree.rewriteMap(firstPageBelow(name.level, name.index));
        if (wait !== undefined) await wait;
        this.#cleaned++;
      }
      root = await tree.finish();
      const changes = new LiveChanges();
      for (const { change } of this.#placed) changes.addAll(change.live);
      changes.addAll(root.live);
      changes.addAll(this.#gone);
      next = live.with(changes);
    } catch (e) {
      await checkpoint.abandon();
      this.#releaseAll();
      throw e;
    }
    try {
      await checkpoint.finish([root.root], next.counts);
    } catch (e) {
      this.#releaseAll();
      throw e;
    }
    tree.publish(root);
    for (const { writer, change } of this.#placed) writer.publish(change);
    this.#releaseAll();
    for (const volume of removed) this.#ports.volumes.forget(volume);
    return {
      live: next,
      free,
      writtenPages: checkpoint.pages,
      cleanedPages: this.#cleaned,
    };
  }

  #releaseAll(): void {
    for (const volume of this.#held.splice(0)) this.#ports.volumes.release(volume);
  }

  async #placeVolume(write: VolumeWrite, victims: readonly Victim[]): Promise<void> {
    assert(write.volume > DIRECTORY_VOLUME, `pages written to volume ${write.volume}`);
    const volume = await this.#ports.volumes.holdOrNew(write.volume);
    this.#held.push(volume);
    const writer = new PagesWriter(volume, this.#checkpoint, this.#breathe);
    if (write.pagesMax !== undefined) await writer.cut(write.pagesMax);
    for await (const [page, bytes] of write.pages) await writer.write(page, bytes);
    for (const { name, entry } of victims) {
      const isRewritten =
        name.kind === PageKind.map
          ? await writer.touch(firstPageBelow(name.level, name.index))
          : await writer.rewrite(name.index, entry);
      if (isRewritten) this.#cleaned++;
    }
    this.#placed.push({ volume, writer, change: await writer.finish() });
  }

  /** Its pages are dead with this checkpoint. */
  async #remove(id: number): Promise<TreeWrite> {
    const volume = await this.#ports.volumes.hold(id);
    if (volume !== undefined) {
      this.#held.push(volume);
      const pages = volume.map.entries(0, (node) => this.#gone.replaced(node));
      try {
        for await (const [, entry] of pages) {
          this.#gone.replaced(entry);
          await this.#breathe();
        }
      } catch (e) {
        if (!isDamage(e)) throw e; // C3
      }
    }
    return { key: placeOf(VOLUMES_TABLE, volumeKey(id)), value: undefined };
  }

  /** Live pages of the segments that are to be emptied next, by volume. */
  async #victims(removed: ReadonlySet<number>, budget: number): Promise<Map<number, Victim[]>> {
    const { segments, live } = this.#ports;
    const victims = new Map<number, Victim[]>();
    let count = 0;
    for (const segment of live.victims(segments.ids, segments.activeSegment)) {
      for await (const { page: first, pages } of segments.listed(segment)) {
        await this.#breathe();
        for (let i = 0; i < pages.length; i++) {
          const { name, birth, checksum } = pages[i] as ListedPage;
          const page = first + i;
          if (removed.has(name.volume)) continue;
          // Most are not, and most that leads to them is in memory: a promise for each would be the greater part of a checkpoint's garbage.
          const isCurrent = this.#peekCurrent(name, segment, page);
          if (!(isCurrent ?? (await this.#isCurrent(name, segment, page)))) continue;
          const entry = { segment, page, birth, checksum };
          const ofVolume = victims.get(name.volume);
          if (ofVolume === undefined) victims.set(name.volume, [{ name, entry }]);
          else ofVolume.push({ name, entry });
          if (++count >= budget) return victims;
        }
      }
    }
    return victims;
  }

  /** Undefined when it takes a read to know. */
  #peekCurrent(name: PageName, segment: number, page: number): boolean | undefined {
    const { directory, volumes } = this.#ports;
    const volume = name.volume === DIRECTORY_VOLUME ? directory : volumes.peek(name.volume);
    return volume?.map.isAt(name, segment, page);
  }

  async #isCurrent(name: PageName, segment: number, page: number): Promise<boolean> {
    const { directory, volumes } = this.#ports;
    if (name.volume === DIRECTORY_VOLUME) return isAt(directory, name, segment, page);
    let volume: Volume | undefined;
    try {
      volume = await volumes.hold(name.volume);
      return volume !== undefined && (await isAt(volume, name, segment, page));
    } catch (e) {
      if (isDamage(e)) return false; // C3
      throw e;
    } finally {
      if (volume !== undefined) volumes.release(volume);
    }
  }
}

const byKey = (a: TreeWrite, b: TreeWrite): number => Buffer.compare(a.key, b.key);

/** @param writes sorted by a stable sort */
function lastOfEach(writes: TreeWrite[]): TreeWrite[] {
  return writes.filter((write, i) => {
    const next = writes[i + 1];
    return next === undefined || byKey(write, next) !== 0;
  });
}

/** As `PageMap.isAt`, and brings in what it takes. */
async function isAt(
  { map }: Volume,
  { kind, level, index }: PageName,
  segment: number,
  page: number,
): Promise<boolean> {
  const current = await (kind === PageKind.data
    ? map.lookup(index)
    : map.entryOfNode(level, index));
  return current?.segment === segment && current.page === page;
}

function breather(clock: Clock): () => Promise<void> | undefined {
  let endMs = clock.nowMs() + SLICE_MS;
  return () => {
    const leftMs = clock.nowMs();
    if (leftMs < endMs) return undefined;
    return new Promise<void>((resolve) =>
      clock.defer(() => {
        const nowMs = clock.nowMs();
        const shareMs = Math.min(SLICE_MS_MAX, (nowMs - leftMs) * SLICE_SHARE);
        endMs = nowMs + Math.max(SLICE_MS, shareMs);
        resolve();
      }),
    );
  };
}
