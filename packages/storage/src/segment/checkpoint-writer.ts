/**
 * One checkpoint on its way into the segments: gives every page its place, collects pages into parts, parts into batches, and hands full batches
 * on to be written. Pure but for its ports; what it has planned counts for nothing before the root record is durable.
 *
 * State: the memory of the batch that fills, of the one on its way to the disk, and of full ones that nobody has drained yet.
 *
 * W1 a part lies in one segment: its header, its pages and, in the last part, the root record. A batch is parts that follow each other there.
 * W2 the checksum of a page covers its place, so a page is placed once and its entry stands from then on.
 * W3 a page is copied to where it will be written from when it is placed: its memory is its owner's again.
 */
import { assert } from "@pinion/core";
import {
  encodePartHeader,
  encodeRootRecord,
  PART_PAGES_MAX,
  rootPagesOf,
  type CheckpointId,
  type ListedPage,
  type RootRecord,
  type VolumeRoot,
} from "./batch-format.ts";
import { PAGE_BYTES, pageChecksum, type PageEntry, type PageName } from "./page-entry.ts";

/** Where the next part goes. */
export interface Place {
  readonly segment: number;
  readonly page: number;
}

/** Where the next part goes that may not go before `place`: it needs a header, a page and, if it is the last, its root record. */
export function placeFrom({ segment, page }: Place, segmentPages: number, rootPages = 1): Place {
  return page + 2 + rootPages <= segmentPages
    ? { segment, page }
    : { segment: segment + 1, page: 1 };
}

interface PlannedPart {
  readonly sequence: number;
  readonly place: Place;
  readonly listed: ListedPage[];
}

const bytesOfPart = ({ listed }: PlannedPart): number => (1 + listed.length) * PAGE_BYTES;

/** Parts that follow each other in a segment: one write. */
interface Batch {
  readonly place: Place;
  readonly bytes: Uint8Array;
  /** Full ones; the one that fills lies behind them. */
  readonly parts: PlannedPart[];
  /** Of `parts`. */
  byteCount: number;
}

/** An event loop that is busy comes back only so often, and each time the disk gets this much more to do: 4 MiB. */
const BATCH_BYTES = 4 * 1024 * 1024;

export interface WriterPorts {
  /** Makes the segment if it is not there. @returns its generation */
  open(segment: number): Promise<number>;
  /** One at a time. @param isRoot with the root record, after everything else: durable once this resolves, as is all that was written before */
  write(place: Place, bytes: Uint8Array, isRoot: boolean): Promise<void>;
  /** @param place of the part with the root record */
  finished(place: Place, next: Place, root: RootRecord): void;
  /** It has failed, and may be whole all the same: the next keeps away from its place and its numbers (G2). */
  doubtful(segment: number, sequence: number): void;
  ended(): void;
}

/** Ends with `finish` or `abandon`. */
export class CheckpointWriter {
  readonly #checkpoint: CheckpointId;
  readonly #ports: WriterPorts;
  readonly #segmentPages: number;
  readonly #batchBytes: number;
  #part: PlannedPart;
  #batch: Batch;
  readonly #full: Batch[] = [];
  /** The write that is under way, or was the last. */
  #writing: Promise<void> = Promise.resolve();
  /** Its memory, for the next batch but one. */
  #spare: Uint8Array | undefined;
  #pages = 0;

  constructor(checkpoint: CheckpointId, place: Place, segmentPages: number, ports: WriterPorts) {
    this.#checkpoint = checkpoint;
    this.#ports = ports;
    this.#segmentPages = segmentPages;
    this.#batchBytes = Math.min(BATCH_BYTES, segmentPages * PAGE_BYTES);
    this.#part = { sequence: checkpoint.first, place, listed: [] };
    // Most checkpoints are small.
    this.#batch = newBatch(place, new Uint8Array(this.#partBytesMax(place)));
  }

  /** Pages given so far. */
  get pages(): number {
    return this.#pages;
  }

  /** Gives a version of a page its place. @param bytes 4,096; copied (W3) */
  add(name: PageName, bytes: Uint8Array): PageEntry {
    assert(bytes.length === PAGE_BYTES, `a page of ${bytes.length} bytes`);
    if (this.#part.listed.length >= PART_PAGES_MAX || this.#left() < 1) this.#turn();
    const { place, listed } = this.#part;
    const { segment } = place;
    const page = place.page + 1 + listed.length;
    const birth = this.#checkpoint.freezeLsn;
    const checksum = pageChecksum(name, segment, page, birth, bytes);
    this.#batch.bytes.set(bytes, this.#batch.byteCount + bytesOfPart(this.#part));
    listed.push({ name, birth, checksum });
    this.#pages++;
    return { segment, page, birth, checksum };
  }

  /**
   * Begins to write the batches that are full: two in memory, one of them on its way to the disk. What is written counts for nothing yet.
   * @returns undefined when there is none @throws `disk-full`, `io-error`
   */
  drain(): Promise<void> | undefined {
    return this.#full.length === 0 ? undefined : this.#drain();
  }

  async #drain(): Promise<void> {
    for (let next = this.#full.shift(); next !== undefined; next = this.#full.shift())
      await this.#writeBatch(next);
  }

  /** Begins to write the full parts of a batch, once the write before is done. */
  async #writeBatch({ place, bytes, parts, byteCount }: Batch): Promise<void> {
    const generation = await this.#ports.open(place.segment);
    let at = 0;
    for (const part of parts) {
      bytes.set(this.#header(part, generation, 0), at);
      at += bytesOfPart(part);
    }
    await this.#writing;
    this.#writing = this.#ports.write(place, bytes.subarray(0, byteCount), false).then(() => {
      if (bytes.length === this.#batchBytes) this.#spare = bytes;
    });
    // Whoever waits for it is told.
    this.#writing.catch(() => {});
  }

  /** Writes what is left and the root record. Once resolved, the checkpoint is durable. @throws `disk-full`, `io-error`: it is given up then */
  async finish(
    volumes: readonly VolumeRoot[],
    live: ReadonlyMap<number, number>,
  ): Promise<RootRecord> {
    const rootPages = rootPagesOf(volumes.length, live.size);
    // #left counts on one page of root record.
    if (this.#left() + 1 < rootPages) this.#turn(rootPages);
    const part = this.#part;
    const { sequence, place } = part;
    const root = { checkpoint: this.#checkpoint, sequence, volumes, live };
    try {
      await this.#drain();
      if (this.#batch.parts.length > 0) await this.#writeBatch(this.#batch);
      await this.#writing;
      const generation = await this.#ports.open(place.segment);
      const rootAt = bytesOfPart(part);
      const bytes = new Uint8Array(rootAt + rootPages * PAGE_BYTES);
      const { byteCount } = this.#batch;
      bytes.set(this.#batch.bytes.subarray(byteCount, byteCount + rootAt));
      bytes.set(this.#header(part, generation, rootPages));
      bytes.set(encodeRootRecord(root, generation, place.page + rootAt / PAGE_BYTES), rootAt);
      try {
        await this.#ports.write(place, bytes, true);
      } catch (e) {
        this.#ports.doubtful(place.segment, sequence);
        throw e;
      }
      const next = this.#after(place.page + 1 + part.listed.length + rootPages);
      this.#ports.finished(place, next, root);
      return root;
    } finally {
      await this.abandon();
    }
  }

  /** Nothing of it is written any more once this resolves. */
  async abandon(): Promise<void> {
    await this.#writing.catch(() => {});
    this.#ports.ended();
  }

  #header(
    { sequence, place, listed }: PlannedPart,
    generation: number,
    rootPages: number,
  ): Uint8Array {
    const header = { checkpoint: this.#checkpoint, sequence, rootPages, pages: listed };
    return encodePartHeader(header, generation, place.page);
  }

  /** Pages that still fit into the part, with room for a root record. */
  #left(): number {
    const { place, listed } = this.#part;
    return this.#segmentPages - (place.page + 1 + listed.length + 1);
  }

  #partBytesMax({ page }: Place): number {
    return Math.min(1 + PART_PAGES_MAX, this.#segmentPages - page) * PAGE_BYTES;
  }

  #after(page: number, rootPages = 1): Place {
    return placeFrom({ segment: this.#part.place.segment, page }, this.#segmentPages, rootPages);
  }

  #turn(rootPages = 1): void {
    const part = this.#part;
    const batch = this.#batch;
    batch.parts.push(part);
    batch.byteCount += bytesOfPart(part);
    const place = this.#after(part.place.page + 1 + part.listed.length, rootPages);
    this.#part = { sequence: part.sequence + 1, place, listed: [] };
    const continues =
      place.segment === batch.place.segment &&
      place.page === batch.place.page + batch.byteCount / PAGE_BYTES &&
      batch.byteCount + this.#partBytesMax(place) <= batch.bytes.length;
    if (continues) return;
    this.#full.push(batch);
    this.#batch = newBatch(place, this.#spare ?? new Uint8Array(this.#batchBytes));
    this.#spare = undefined;
  }
}

const newBatch = (place: Place, bytes: Uint8Array): Batch => ({
  place,
  bytes,
  parts: [],
  byteCount: 0,
});
