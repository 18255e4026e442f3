/**
 * The segments of one shard: where pages are read from, and where checkpoints are written to. A checkpoint is one or more parts
 * (batch-format.ts), the last of which ends with the root record; it counts once that is durable. What counts is never written over.
 *
 * G1 the newest checkpoint whose parts and pages all verify is the shard's state. What lies behind it was never finished, or is damaged: who knows
 *    that a newer one was durable says so (`durableSequence`), and the log notices that it does not continue an older one.
 * G2 a checkpoint that fails is written over by the next as long as its root record cannot have been written; its nonce tells the parts of the two
 *    apart. Otherwise the next goes to a new segment, under higher numbers: both may be found whole then, and the newest counts.
 * G3 a page is verified against its entry whenever it is read; damage is an error of that page.
 * G4 one checkpoint is written at a time; reads go on meanwhile.
 * G5 a segment is removed only after a checkpoint without references to it is durable.
 */
import { assert, PinionError } from "@pinion/core";
import type { Disk, DiskFile } from "../disk/disk.ts";
import {
  PAGE_BYTES,
  pageChecksum,
  SEGMENT_PAGES,
  type PageEntry,
  type PageName,
} from "./page-entry.ts";
import {
  decodePartHeader,
  decodeRootRecord,
  type CheckpointId,
  type ListedPage,
  type PartHeader,
  type RootRecord,
} from "./batch-format.ts";
import {
  CheckpointWriter,
  encodePart,
  placeFrom,
  type Place,
  type PlannedPart,
} from "./checkpoint-writer.ts";
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
  /** Sequence of a checkpoint that is known to be durable; default: none is. */
  readonly durableSequence?: number;
}

interface OpenSegment {
  readonly id: number;
  readonly generation: number;
  readonly file: DiskFile;
}

interface FoundPart {
  readonly place: Place;
  readonly header: PartHeader;
}

/** What opening found. */
export interface SegmentsReport {
  readonly parts: number;
  /** Bytes of headers and of the newest checkpoint's pages. */
  readonly readBytes: number;
  /** Newer checkpoints that were not whole. */
  readonly dropped: number;
}

export class ShardSegments {
  readonly #options: ShardSegmentsOptions;
  readonly #segmentPages: number;
  readonly #open = new Map<number, OpenSegment>();
  #root: RootRecord | undefined;
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
    return [...this.#open.keys()].sort((a, b) => a - b);
  }

  /** The segment that is being written. */
  get activeSegment(): number {
    return this.#next.segment;
  }

  /** A page's 4,096 bytes. @throws `corruption` naming the page, `io-error` */
  async read(name: PageName, entry: PageEntry): Promise<Uint8Array> {
    const bytes = new Uint8Array(PAGE_BYTES);
    const segment = this.#open.get(entry.segment);
    if (segment === undefined) throw this.#damaged(name, entry, "its segment is missing");
    const read = await segment.file.read(entry.page * PAGE_BYTES, bytes);
    if (read < PAGE_BYTES) throw this.#damaged(name, entry, "its segment ends before it");
    if (pageChecksum(name, entry.segment, entry.page, entry.birth, bytes) !== entry.checksum)
      throw this.#damaged(name, entry, "it does not match its checksum");
    return bytes;
  }

  /** Of a segment's file, for the native door; undefined where there is none. */
  fileDescriptor(id: number): number | undefined {
    return this.#open.get(id)?.file.descriptor;
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
      write: (part) => this.#write(part),
      finished: (next, root) => {
        this.#next = next;
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

  /** What the parts of a segment list, in order. For cleaning. */
  async *listed(id: number): AsyncGenerator<{ name: PageName; entry: PageEntry }> {
    const segment = this.#open.get(id);
    if (segment === undefined) return;
    for await (const { place, header } of this.#parts(segment)) {
      for (let i = 0; i < header.pages.length; i++) {
        const { name, birth, checksum } = header.pages[i] as ListedPage;
        yield { name, entry: { segment: id, page: place.page + 1 + i, birth, checksum } };
      }
    }
  }

  /** Takes a segment out for good (G5). */
  async remove(id: number): Promise<void> {
    const segment = this.#open.get(id);
    if (segment === undefined) return;
    this.#open.delete(id);
    await segment.file.close();
    await this.#options.disk.remove(this.#path(id));
  }

  /** Waits for operations under way. */
  async close(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const { file } of open) await file.close();
  }

  #path(id: number): string {
    return `${this.#options.dir}/${segmentFileName(id)}`;
  }

  #damaged(name: PageName, entry: PageEntry, what: string): PinionError {
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

  async #write(part: PlannedPart): Promise<void> {
    const { place, root } = part;
    const segment = this.#open.get(place.segment) ?? (await this.#create(place.segment));
    if (root !== undefined) {
      this.#unsynced.delete(segment);
      for (const earlier of this.#unsynced) await earlier.file.sync();
      this.#unsynced.clear();
      if (this.#namesUnsynced) await this.#options.disk.syncDir(this.#options.dir);
      this.#namesUnsynced = false;
    } else this.#unsynced.add(segment);
    const bytes = encodePart(part, segment.generation);
    await segment.file.write(place.page * PAGE_BYTES, bytes, { sync: root !== undefined });
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
    this.#open.set(id, segment);
    return segment;
  }

  // ---------------------------------------------------------------- opening

  async #recover(): Promise<void> {
    const { disk, dir } = this.#options;
    await disk.mkdir(dir);
    const ids = (await disk.list(dir)).flatMap((name) => segmentOfFileName(name) ?? []);
    const candidates: { root: RootRecord; parts: Place[]; end: Place }[] = [];
    let parts = 0;
    let nonce = -1;
    let group: Place[] = [];
    for (const id of ids.sort((a, b) => a - b)) {
      const segment = await this.#openSegment(id);
      if (segment === undefined) continue;
      for await (const part of this.#parts(segment)) {
        parts++;
        const { header, place } = part;
        if (nonce !== header.checkpoint.nonce) group = [];
        nonce = header.checkpoint.nonce;
        group.push(place);
        if (header.rootPages === 0) continue;
        const page = place.page + 1 + header.pages.length;
        const root = await this.#rootAt(segment, page, header.rootPages);
        const end = { segment: id, page: page + header.rootPages };
        if (root !== undefined) candidates.push({ root, parts: group, end });
        group = [];
      }
    }
    let dropped = 0;
    let readBytes = parts * PAGE_BYTES;
    for (const candidate of candidates.sort((a, b) => b.root.sequence - a.root.sequence)) {
      const read = await this.#verifiedBytes(candidate.root, candidate.parts);
      if (read !== undefined) {
        readBytes += read;
        this.#root = candidate.root;
        this.#sequence = candidate.root.sequence + 1;
        this.#next = placeFrom(candidate.end, this.#segmentPages);
        break;
      }
      dropped++;
    }
    this.#checkDurable();
    if (this.#root === undefined) {
      // A first checkpoint that was cut off, or nothing. What there is goes once one counts.
      this.#next = { segment: (this.ids.at(-1) ?? 0) + 1, page: 1 };
      for (const { root } of candidates)
        this.#sequence = Math.max(this.#sequence, root.sequence + 1);
    } else {
      // Behind the newest checkpoint: begun and never finished.
      for (const id of this.ids) if (id > this.#next.segment) await this.remove(id);
    }
    this.#report = { parts, readBytes, dropped };
  }

  /** A checkpoint that is known to be durable must be there: an older one in its place would be a silent loss. */
  #checkDurable(): void {
    const { dir, shard, durableSequence = 0 } = this.#options;
    const found = this.#root?.sequence ?? 0;
    if (found >= durableSequence) return;
    throw new PinionError(
      "corruption",
      `${dir}: checkpoint ${durableSequence} of shard ${shard} is damaged or missing; the newest that is whole is ${found === 0 ? "none" : found}`,
      { details: { dir, shard, durableSequence, found } },
    );
  }

  async #openSegment(id: number): Promise<OpenSegment | undefined> {
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
      // Without its header nothing can be found in it; what is needed from it can still be read and verified.
      const segment = { id, generation: header?.generation ?? -1, file };
      this.#open.set(id, segment);
      return header && segment;
    } catch (e) {
      if (!this.#open.has(id)) await file.close();
      throw e;
    }
  }

  /** The parts of a segment up to the first place where there is none. */
  async *#parts({ id, generation, file }: OpenSegment): AsyncGenerator<FoundPart> {
    const bytes = new Uint8Array(PAGE_BYTES);
    for (let page = 1; page < this.#segmentPages;) {
      const read = await file.read(page * PAGE_BYTES, bytes);
      const header = decodePartHeader(bytes.subarray(0, read), generation, page);
      if (header === undefined || header.checkpoint.shard !== this.#options.shard) return;
      yield { place: { segment: id, page }, header };
      page += 1 + header.pages.length + header.rootPages;
    }
  }

  async #rootAt(
    { generation, file }: OpenSegment,
    page: number,
    pages: number,
  ): Promise<RootRecord | undefined> {
    const bytes = new Uint8Array(pages * PAGE_BYTES);
    const read = await file.read(page * PAGE_BYTES, bytes);
    return decodeRootRecord(bytes.subarray(0, read), generation, page);
  }

  /** All parts from the first on, of one attempt, and every page in them. @returns undefined when something is wrong or missing */
  async #verifiedBytes(root: RootRecord, parts: readonly Place[]): Promise<number | undefined> {
    const { first, nonce } = root.checkpoint;
    if (parts.length !== root.sequence - first + 1) return undefined;
    const page = new Uint8Array(PAGE_BYTES);
    let verified = 0;
    for (let i = 0; i < parts.length; i++) {
      const place = parts[i] as Place;
      const { file, generation } = this.#open.get(place.segment) as OpenSegment;
      await file.read(place.page * PAGE_BYTES, page);
      const header = decodePartHeader(page, generation, place.page);
      if (header?.sequence !== first + i || header.checkpoint.nonce !== nonce) return undefined;
      const bytes = new Uint8Array(header.pages.length * PAGE_BYTES);
      if ((await file.read((place.page + 1) * PAGE_BYTES, bytes)) < bytes.length) return undefined;
      for (let k = 0; k < header.pages.length; k++) {
        const { name, birth, checksum } = header.pages[k] as ListedPage;
        const content = bytes.subarray(k * PAGE_BYTES, (k + 1) * PAGE_BYTES);
        if (pageChecksum(name, place.segment, place.page + 1 + k, birth, content) !== checksum)
          return undefined;
      }
      verified += bytes.length;
    }
    return verified;
  }
}
