/**
 * The segments of one shard: where pages are read from, and where checkpoints are written to. A checkpoint is one or more parts
 * (batch-format.ts), the last of which ends with the root record; it counts once that is durable. What counts is never written over.
 *
 * G1 the newest checkpoint whose parts and pages all verify is the shard's state. What lies behind it was never finished, or is damaged: who knows
 *    that a newer one was durable says so (`durable`), and the log notices that it does not continue an older one. Pages of one that
 *    is known to have been durable are not verified when it is opened: damage there is an error of that page (G3).
 * G2 a checkpoint that fails is written over by the next as long as its root record cannot have been written; its nonce tells the parts of the two
 *    apart. Otherwise the next goes to a new segment, under higher numbers: both may be found whole then, and the newest counts.
 * G3 a page is verified against its entry whenever it is read; damage is an error of that page.
 * G4 one checkpoint is written at a time; reads go on meanwhile.
 * G5 a segment is removed only after a checkpoint without references to it is durable.
 * G6 a checkpoint of which nobody knows that it was durable is written again where it lies before it counts: the process that wrote it may have
 *    seen its flush fail, and what the page cache shows of it need not be on the disk.
 * G7 where the newest checkpoint is known, older segments are opened when something is first read from them: what opening a shard
 *    reads does not grow with what it holds.
 */
import { assert, PinionError } from "@pinion/core";
import type { Disk } from "../disk/disk.ts";
import {
  PAGE_BYTES,
  pageChecksum,
  SEGMENT_PAGES,
  type PageEntry,
  type PageName,
} from "./page-entry.ts";
import type { CheckpointId, ListedPage, RootRecord } from "./batch-format.ts";
import {
  CheckpointSearch,
  partsOf,
  writeAgain,
  type CheckpointPlace,
  type FoundPart,
  type OpenSegment,
} from "./checkpoint-search.ts";
import { CheckpointWriter, placeFrom, type Place } from "./checkpoint-writer.ts";
import {
  decodeSegmentFileHeader,
  encodeSegmentFileHeader,
  segmentFileName,
  segmentOfFileName,
} from "./segment-file.ts";

export interface ShardSegmentsOptions {
  readonly disk: Disk;
  /** Folder of this shard's segments alone; created if need be. */
  readonly dir: string;
  readonly shard: number;
  /** A number below 2^48 for a file's or a checkpoint's life: never the same twice. */
  readonly newGeneration: () => number;
  /** Pages of a segment, at most 16,384; less only in tests. */
  readonly segmentPages?: number;
  /** A checkpoint that is known to be durable, as `newest` was once; default: none is. */
  readonly durable?: CheckpointPlace;
}

/** What opening found. */
export interface SegmentsReport {
  readonly parts: number;
  /** Bytes of headers, and of the newest checkpoint's pages where they had to be verified. */
  readonly readBytes: number;
  /** Newer checkpoints that were not whole. */
  readonly dropped: number;
}

export class ShardSegments {
  readonly #options: ShardSegmentsOptions;
  readonly #segmentPages: number;
  readonly #ids = new Set<number>();
  readonly #open = new Map<number, OpenSegment>();
  readonly #opening = new Map<number, Promise<OpenSegment>>();
  #root: RootRecord | undefined;
  /** The part with the newest root record. */
  #rootPlace: Place = { segment: 1, page: 1 };
  #next: Place = { segment: 1, page: 1 };
  #sequence = 1;
  #writing = false;
  /** Written to by the checkpoint under way, and not flushed since. */
  readonly #unsynced = new Set<OpenSegment>();
  #namesUnsynced = false;
  #report: SegmentsReport = { parts: 0, readBytes: 0, dropped: 0 };

  private constructor(options: ShardSegmentsOptions) {
    this.#options = options;
    this.#segmentPages = options.segmentPages ?? SEGMENT_PAGES;
  }

  /** @throws `corruption`, `format-too-new`, `io-error` */
  static async open(options: ShardSegmentsOptions): Promise<ShardSegments> {
    const segments = new ShardSegments(options);
    try {
      await segments.#recover();
    } catch (e) {
      await segments.close();
      throw e;
    }
    return segments;
  }

  /** Of the newest checkpoint; undefined while there is none. */
  get root(): RootRecord | undefined {
    return this.#root;
  }

  get report(): SegmentsReport {
    return this.#report;
  }

  /** Ids of the segments there are, ascending. */
  get ids(): readonly number[] {
    return [...this.#ids].sort((a, b) => a - b);
  }

  /** The segment with the newest root record, which nothing refers to. It and those behind it stay. */
  get activeSegment(): number {
    return this.#rootPlace.segment;
  }

  /** What leads to the newest checkpoint (`durable`); undefined while there is none. */
  get newest(): CheckpointPlace | undefined {
    return this.#root && { sequence: this.#root.sequence, ...this.#rootPlace };
  }

  /** A page's 4,096 bytes. @throws `corruption` naming the page, `io-error` */
  read(name: PageName, entry: PageEntry): Promise<Uint8Array> {
    return this.readInto(name, entry, new Uint8Array(PAGE_BYTES));
  }

  /** As `readInto`, if it needs no wait. @returns false when it does, or when something is wrong: `readInto` says what */
  readNow(name: PageName, entry: PageEntry, bytes: Uint8Array): boolean {
    const file = this.#open.get(entry.segment)?.file;
    if (file?.readNow?.(entry.page * PAGE_BYTES, bytes) !== true) return false;
    return pageChecksum(name, entry.segment, entry.page, entry.birth, bytes) === entry.checksum;
  }

  /** As `read`. @returns `bytes` */
  async readInto(name: PageName, entry: PageEntry, bytes: Uint8Array): Promise<Uint8Array> {
    const segment = this.#open.get(entry.segment) ?? (await this.#opened(entry.segment));
    if (segment === undefined) throw this.damaged(name, entry, "its segment is missing");
    const read = await segment.file.read(entry.page * PAGE_BYTES, bytes);
    if (read < PAGE_BYTES) throw this.damaged(name, entry, "its segment ends before it");
    if (pageChecksum(name, entry.segment, entry.page, entry.birth, bytes) !== entry.checksum)
      throw this.damaged(name, entry, "it does not match its checksum");
    return bytes;
  }

  /** Fills `into` from a segment's file, unverified. Resolves to the bytes read, 0 where there is no such file. @throws `io-error` */
  async readSegment(segment: number, offset: number, into: Uint8Array): Promise<number> {
    const opened = this.#open.get(segment) ?? (await this.#opened(segment));
    return (await opened?.file.read(offset, into)) ?? 0;
  }

  /** Of a segment's file, for the native door; undefined where there is none. */
  async fileDescriptor(id: number): Promise<number | undefined> {
    return (await this.#opened(id))?.file.descriptor;
  }

  /** Starts a checkpoint (G4). */
  begin(freezeLsn: number, term: number): CheckpointWriter {
    assert(!this.#writing, "two checkpoints of a shard at once");
    this.#writing = true;
    const checkpoint: CheckpointId = {
      shard: this.#options.shard,
      term,
      nonce: this.#options.newGeneration(),
      freezeLsn,
      first: this.#sequence,
    };
    return new CheckpointWriter(checkpoint, this.#next, this.#segmentPages, {
      open: async (id) => ((await this.#opened(id)) ?? (await this.#create(id))).generation,
      write: (place, bytes, isRoot) => this.#write(place, bytes, isRoot),
      finished: (place, next, root) => {
        this.#next = next;
        this.#rootPlace = place;
        this.#sequence = root.sequence + 1;
        this.#root = root;
      },
      doubtful: (segment, sequence) => {
        this.#next = { segment: segment + 1, page: 1 };
        this.#sequence = sequence + 1;
      },
      ended: () => (this.#writing = false),
    });
  }

  /** What the parts of a segment list, in order: a part at a time, the first of its pages at `page`. For cleaning. */
  async *listed(id: number): AsyncGenerator<{ page: number; pages: readonly ListedPage[] }> {
    const segment = await this.#opened(id);
    if (segment === undefined) return;
    const { shard } = this.#options;
    for await (const { place, header } of partsOf(segment, shard, this.#segmentPages))
      yield { page: place.page + 1, pages: header.pages };
  }

  /** Takes a segment out for good (G5). */
  async remove(id: number): Promise<void> {
    if (!this.#ids.delete(id)) return;
    await this.#opening.get(id)?.catch(() => {});
    const segment = this.#open.get(id);
    this.#open.delete(id);
    await segment?.file.close();
    await this.#options.disk.remove(this.#path(id));
  }

  /** Waits for operations under way. */
  async close(): Promise<void> {
    this.#ids.clear();
    await Promise.allSettled(this.#opening.values());
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { file } of open) await file.close();
  }

  #path(id: number): string {
    return `${this.#options.dir}/${segmentFileName(id)}`;
  }

  /** The error of a page that is not what it should be. */
  damaged(name: PageName, entry: PageEntry, what: string): PinionError {
    const { shard } = this.#options;
    const kind = name.kind === 1 ? "page" : `map node of level ${name.level}`;
    return new PinionError(
      "corruption",
      `shard ${shard}, volume ${name.volume}, ${kind} ${name.index} (segment ${entry.segment}, page ${entry.page}): ${what}`,
      {
        details: {
          shard,
          volume: name.volume,
          page: name.index,
          segment: entry.segment,
          offset: entry.page * PAGE_BYTES,
        },
      },
    );
  }

  // ---------------------------------------------------------------- writing

  async #write(place: Place, bytes: Uint8Array, isRoot: boolean): Promise<void> {
    const segment = this.#open.get(place.segment);
    assert(segment !== undefined, "a checkpoint is written to a segment that is not there");
    if (isRoot) {
      this.#unsynced.delete(segment);
      for (const earlier of this.#unsynced) await earlier.file.sync();
      this.#unsynced.clear();
      if (this.#namesUnsynced) await this.#options.disk.syncDir(this.#options.dir);
      this.#namesUnsynced = false;
    } else this.#unsynced.add(segment);
    await segment.file.write(place.page * PAGE_BYTES, bytes, { sync: isRoot });
  }

  async #create(id: number): Promise<OpenSegment> {
    const { disk, shard, newGeneration } = this.#options;
    // What a checkpoint that failed may have left is worthless.
    await disk.remove(this.#path(id));
    const file = await disk.create(this.#path(id));
    const segment = { id, generation: newGeneration(), file };
    this.#namesUnsynced = true;
    const header = encodeSegmentFileHeader({ shard, segment: id, generation: segment.generation });
    try {
      await file.write(0, header, { sync: false });
    } catch (e) {
      // Without its header nothing would be found in it again.
      await file.close();
      throw e;
    }
    this.#ids.add(id);
    this.#open.set(id, segment);
    return segment;
  }

  // ---------------------------------------------------------------- opening

  /** A segment of the shard, opened if it was not yet; undefined if there is no such. @throws as `open` */
  async #opened(id: number): Promise<OpenSegment | undefined> {
    const open = this.#open.get(id);
    if (open !== undefined || !this.#ids.has(id)) return open;
    let opening = this.#opening.get(id);
    if (opening === undefined) {
      opening = this.#openSegment(id).finally(() => this.#opening.delete(id));
      this.#opening.set(id, opening);
    }
    return opening;
  }

  async #recover(): Promise<void> {
    const { disk, dir, durable } = this.#options;
    await disk.mkdir(dir);
    for (const name of await disk.list(dir)) {
      const id = segmentOfFileName(name);
      if (id !== undefined) this.#ids.add(id);
    }
    let search = await this.#searchFrom(durable?.segment ?? 1);
    const known = durable && (await search.at(durable));
    if (known === undefined && durable !== undefined) search = await this.#searchFrom(1);
    const newer = await search.newest(known?.end ?? { segment: 1, page: 1 });
    const newest = newer ?? known;
    if (newest !== undefined) {
      this.#root = newest.root;
      this.#rootPlace = (newest.parts.at(-1) as FoundPart).place;
      this.#sequence = newest.root.sequence + 1;
      this.#next = placeFrom(newest.end, this.#segmentPages);
    }
    this.#checkDurable();
    if (newest === undefined) {
      // A first checkpoint that was cut off, or nothing. What there is goes once one counts.
      this.#next = { segment: (this.ids.at(-1) ?? 0) + 1, page: 1 };
    } else {
      // Behind the newest checkpoint: begun and never finished, perhaps not even with a header.
      for (const id of this.ids) if (id > newest.end.segment) await this.remove(id);
    }
    if (newer !== undefined) await writeAgain(this.#open, newer); // G6
    const { parts, readBytes, dropped } = search;
    this.#report = { parts, readBytes, dropped };
  }

  /** Over the segments from `first` on. */
  async #searchFrom(first: number): Promise<CheckpointSearch> {
    const found: OpenSegment[] = [];
    for (const id of this.ids)
      if (id >= first) found.push(this.#open.get(id) ?? (await this.#openSegment(id)));
    return new CheckpointSearch(found, this.#options.shard, this.#segmentPages);
  }

  /** A checkpoint that is known to be durable must be there: an older one in its place would be a silent loss. */
  #checkDurable(): void {
    const { dir, shard, durable } = this.#options;
    const durableSequence = durable?.sequence ?? 0;
    const found = this.#root?.sequence ?? 0;
    if (found >= durableSequence) return;
    throw new PinionError(
      "corruption",
      `${dir}: checkpoint ${durableSequence} of shard ${shard} is damaged or missing; the newest that is whole is ${found === 0 ? "none" : found}`,
      { details: { dir, shard, durableSequence, found } },
    );
  }

  async #openSegment(id: number): Promise<OpenSegment> {
    const { disk, shard } = this.#options;
    const file = await disk.open(this.#path(id));
    const bytes = new Uint8Array(PAGE_BYTES);
    try {
      const read = await file.read(0, bytes);
      const header = decodeSegmentFileHeader(bytes.subarray(0, read), file.path);
      if (header !== undefined && (header.segment !== id || header.shard !== shard)) {
        throw new PinionError(
          "corruption",
          `${file.path} holds segment ${header.segment} of shard ${header.shard}: the file was renamed`,
          { details: { path: file.path, segment: header.segment, shard: header.shard } },
        );
      }
      const segment = { id, generation: header?.generation ?? -1, file };
      this.#open.set(id, segment);
      return segment;
    } catch (e) {
      if (!this.#open.has(id)) await file.close();
      throw e;
    }
  }
}
