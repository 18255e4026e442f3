/**
 * One checkpoint on its way into the segments: gives every page its place, collects pages into parts, and hands full parts on to be
 * written. Pure but for its ports; what it has planned counts for nothing before the root record is durable.
 *
 * W1 a part lies in one segment: its header, its pages and, in the last part, the root record.
 * W2 the checksum of a page covers its place, so a page is placed once and its entry stands from then on.
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

export interface PlannedPart {
  readonly checkpoint: CheckpointId;
  readonly sequence: number;
  readonly place: Place;
  readonly listed: ListedPage[];
  readonly contents: Uint8Array[];
  root: Pick<RootRecord, "volumes" | "live"> | undefined;
}

const rootPagesIn = ({ root }: PlannedPart): number =>
  root === undefined ? 0 : rootPagesOf(root.volumes.length, root.live.size);

const bytesOfPart = (part: PlannedPart): number =>
  (1 + part.contents.length + rootPagesIn(part)) * PAGE_BYTES;

/** @param bytes zeros, or what may be overwritten: as many as `bytesOfPart` */
function encodePart(part: PlannedPart, generation: number, bytes: Uint8Array): void {
  const { checkpoint, sequence, place, listed, contents, root } = part;
  const rootAt = 1 + contents.length;
  const header = { checkpoint, sequence, rootPages: rootPagesIn(part), pages: listed };
  bytes.set(encodePartHeader(header, generation, place.page));
  for (let i = 0; i < contents.length; i++)
    bytes.set(contents[i] as Uint8Array, (1 + i) * PAGE_BYTES);
  if (root !== undefined) {
    const record = { checkpoint, sequence, ...root };
    bytes.set(encodeRootRecord(record, generation, place.page + rootAt), rootAt * PAGE_BYTES);
  }
}

/** Full parts that follow each other in a segment: one write. */
interface Batch {
  readonly place: Place;
  readonly bytes: Uint8Array;
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

/** One checkpoint on its way into the segments. Ends with `finish` or `abandon`. */
export class CheckpointWriter {
  readonly #checkpoint: CheckpointId;
  readonly #ports: WriterPorts;
  readonly #segmentPages: number;
  readonly #batchBytes: number;
  #part: PlannedPart;
  readonly #full: PlannedPart[] = [];
  #batch: Batch | undefined;
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
    this.#part = this.#newPart(checkpoint.first, place);
  }

  /** Pages given so far. */
  get pages(): number {
    return this.#pages;
  }

  /**
   * Gives a version of a page its place.
   * @param bytes 4,096; must not change until the end
   */
  add(name: PageName, bytes: Uint8Array): PageEntry {
    assert(bytes.length === PAGE_BYTES, `a page of ${bytes.length} bytes`);
    if (this.#part.listed.length >= PART_PAGES_MAX || this.#left() < 1) this.#turn();
    const { place, listed, contents } = this.#part;
    const { segment } = place;
    const page = place.page + 1 + listed.length;
    const birth = this.#checkpoint.freezeLsn;
    const checksum = pageChecksum(name, segment, page, birth, bytes);
    listed.push({ name, birth, checksum });
    contents.push(bytes);
    this.#pages++;
    return { segment, page, birth, checksum };
  }

  /**
   * Takes the parts that are full into the next write, and begins that when there is enough: two batches in memory, one of them on its
   * way to the disk. What is written counts for nothing yet. @returns undefined when there is none @throws `disk-full`, `io-error`
   */
  drain(): Promise<void> | undefined {
    return this.#full.length === 0 ? undefined : this.#drain();
  }

  async #drain(): Promise<void> {
    for (let part = this.#full.shift(); part !== undefined; part = this.#full.shift()) {
      const generation = await this.#ports.open(part.place.segment);
      const byteCount = bytesOfPart(part);
      if (!this.#fits(part.place, byteCount)) await this.#writeBatch();
      this.#batch ??= {
        place: part.place,
        bytes: this.#spare ?? new Uint8Array(this.#batchBytes),
        byteCount: 0,
      };
      this.#spare = undefined;
      const batch = this.#batch;
      const into = batch.bytes.subarray(batch.byteCount, batch.byteCount + byteCount);
      encodePart(part, generation, into);
      batch.byteCount += byteCount;
    }
  }

  #fits({ segment, page }: Place, byteCount: number): boolean {
    const batch = this.#batch;
    if (batch === undefined) return true;
    return (
      segment === batch.place.segment &&
      page === batch.place.page + batch.byteCount / PAGE_BYTES &&
      batch.byteCount + byteCount <= this.#batchBytes
    );
  }

  /** Begins to write what was collected, once the write before is done. */
  async #writeBatch(): Promise<void> {
    const batch = this.#batch;
    if (batch === undefined) return;
    await this.#writing;
    this.#batch = undefined;
    const { place, bytes, byteCount } = batch;
    this.#writing = this.#ports.write(place, bytes.subarray(0, byteCount), false).then(() => {
      this.#spare = bytes;
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
    part.root = { volumes, live };
    const { checkpoint, sequence, place } = part;
    try {
      await this.drain();
      await this.#writeBatch();
      await this.#writing;
      const generation = await this.#ports.open(place.segment);
      const bytes = new Uint8Array(bytesOfPart(part));
      encodePart(part, generation, bytes);
      try {
        await this.#ports.write(place, bytes, true);
      } catch (e) {
        this.#ports.doubtful(place.segment, sequence);
        throw e;
      }
      const root = { checkpoint, sequence, volumes, live };
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

  /** Pages that still fit into the part, with room for a root record. */
  #left(): number {
    const { place, listed } = this.#part;
    return this.#segmentPages - (place.page + 1 + listed.length + 1);
  }

  #after(page: number, rootPages = 1): Place {
    return placeFrom({ segment: this.#part.place.segment, page }, this.#segmentPages, rootPages);
  }

  #turn(rootPages = 1): void {
    const { sequence, place, listed } = this.#part;
    this.#full.push(this.#part);
    this.#part = this.#newPart(
      sequence + 1,
      this.#after(place.page + 1 + listed.length, rootPages),
    );
  }

  #newPart(sequence: number, place: Place): PlannedPart {
    return {
      checkpoint: this.#checkpoint,
      sequence,
      place,
      listed: [],
      contents: [],
      root: undefined,
    };
  }
}
