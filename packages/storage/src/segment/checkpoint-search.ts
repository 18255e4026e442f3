/**
 * Finds the newest checkpoint in a shard's segments: headers are read one after the other, pages only of a checkpoint of which nobody
 * knows that it was durable. Reads, and changes nothing.
 */
import {
  decodePartHeader,
  decodeRootRecord,
  type ListedPage,
  type PartHeader,
  type RootRecord,
} from "./batch-format.ts";
import type { Place } from "./checkpoint-writer.ts";
import type { DiskFile } from "../disk/disk.ts";
import { PAGE_BYTES, pageChecksum } from "./page-entry.ts";

export interface OpenSegment {
  readonly id: number;
  /** −1: its header cannot be read. Nothing is found in it; what is needed from it can still be read and verified. */
  readonly generation: number;
  readonly file: DiskFile;
}

export interface FoundPart {
  readonly place: Place;
  readonly header: PartHeader;
}

/** What leads to a checkpoint without a search: the part that holds its root record. */
export interface CheckpointPlace extends Place {
  readonly sequence: number;
}

export interface FoundCheckpoint {
  readonly root: RootRecord;
  /** The one with the root record last; that one alone where it was known. */
  readonly parts: readonly FoundPart[];
  /** Behind its root record. */
  readonly end: Place;
}

/** The parts of a segment from a page on, up to the first place where there is none. */
export async function* partsOf(
  { id, generation, file }: OpenSegment,
  shard: number,
  segmentPages: number,
  from = 1,
): AsyncGenerator<FoundPart> {
  const bytes = new Uint8Array(PAGE_BYTES);
  for (let page = from; page < segmentPages;) {
    const read = await file.read(page * PAGE_BYTES, bytes);
    const header = decodePartHeader(bytes.subarray(0, read), generation, page);
    if (header === undefined || header.checkpoint.shard !== shard) return;
    yield { place: { segment: id, page }, header };
    page += pagesOf(header);
  }
}

/** Of a part, its header and the root record included. */
const pagesOf = ({ pages, rootPages }: PartHeader): number => 1 + pages.length + rootPages;

export class CheckpointSearch {
  readonly #segments: readonly OpenSegment[];
  readonly #shard: number;
  readonly #segmentPages: number;
  parts = 0;
  readBytes = 0;
  /** Newer checkpoints that were not whole. */
  dropped = 0;

  /** @param segments in order of their ids */
  constructor(segments: readonly OpenSegment[], shard: number, segmentPages: number) {
    this.#segments = segments;
    this.#shard = shard;
    this.#segmentPages = segmentPages;
  }

  /** The checkpoint at this place; undefined when it is damaged or another one. */
  async at({ sequence, segment: id, page }: CheckpointPlace): Promise<FoundCheckpoint | undefined> {
    const segment = this.#segments.find((one) => one.id === id);
    if (segment === undefined) return undefined;
    for await (const part of partsOf(segment, this.#shard, this.#segmentPages, page)) {
      this.#count();
      if (part.header.sequence !== sequence || part.header.rootPages === 0) return undefined;
      return this.#found(segment, [part]);
    }
    return undefined;
  }

  /** The newest that is whole, of those behind a place. */
  async newest(behind: Place): Promise<FoundCheckpoint | undefined> {
    const candidates: FoundCheckpoint[] = [];
    let group: FoundPart[] = [];
    for (const segment of this.#segments) {
      if (segment.id < behind.segment) continue;
      const from = segment.id === behind.segment ? behind.page : 1;
      for await (const part of partsOf(segment, this.#shard, this.#segmentPages, from)) {
        this.#count();
        const { rootPages, checkpoint } = part.header;
        if (group[0]?.header.checkpoint.nonce !== checkpoint.nonce) group = [];
        group.push(part);
        if (rootPages === 0) continue;
        const found = await this.#found(segment, group);
        if (found !== undefined) candidates.push(found);
        group = [];
      }
    }
    for (const candidate of candidates.sort((a, b) => b.root.sequence - a.root.sequence)) {
      if (await this.#isWhole(candidate)) return candidate;
      this.dropped++;
    }
    return undefined;
  }

  #count(): void {
    this.parts++;
    this.readBytes += PAGE_BYTES;
  }

  /** @returns undefined when the last part's root record is damaged */
  async #found(
    { id, generation, file }: OpenSegment,
    parts: readonly FoundPart[],
  ): Promise<FoundCheckpoint | undefined> {
    const { place, header } = parts.at(-1) as FoundPart;
    const page = place.page + 1 + header.pages.length;
    const bytes = new Uint8Array(header.rootPages * PAGE_BYTES);
    const read = await file.read(page * PAGE_BYTES, bytes);
    const root = decodeRootRecord(bytes.subarray(0, read), generation, page);
    return root && { root, parts, end: { segment: id, page: page + header.rootPages } };
  }

  /** All parts from the first on, of one attempt, and every page in them. */
  async #isWhole({ root, parts }: FoundCheckpoint): Promise<boolean> {
    const { first } = root.checkpoint;
    if (parts.length !== root.sequence - first + 1) return false;
    for (const [i, { header, place }] of parts.entries()) {
      if (header.sequence !== first + i) return false;
      const { file } = this.#segments.find(({ id }) => id === place.segment) as OpenSegment;
      const bytes = new Uint8Array(header.pages.length * PAGE_BYTES);
      if ((await file.read((place.page + 1) * PAGE_BYTES, bytes)) < bytes.length) return false;
      this.readBytes += bytes.length;
      for (let k = 0; k < header.pages.length; k++) {
        const { name, birth, checksum } = header.pages[k] as ListedPage;
        const content = bytes.subarray(k * PAGE_BYTES, (k + 1) * PAGE_BYTES);
        const page = place.page + 1 + k;
        if (pageChecksum(name, place.segment, page, birth, content) !== checksum) return false;
      }
    }
    return true;
  }
}

/** Writes a checkpoint once more as it is, with the headers of the files it lies in, and flushes it. */
export async function writeAgain(
  segments: ReadonlyMap<number, OpenSegment>,
  { parts }: FoundCheckpoint,
): Promise<void> {
  const files = new Set<DiskFile>();
  const copy = async (file: DiskFile, page: number, pages: number): Promise<void> => {
    const bytes = new Uint8Array(pages * PAGE_BYTES);
    await file.read(page * PAGE_BYTES, bytes);
    await file.write(page * PAGE_BYTES, bytes, { sync: false });
  };
  for (const { place, header } of parts) {
    const { file } = segments.get(place.segment) as OpenSegment;
    if (!files.has(file)) await copy(file, 0, 1);
    files.add(file);
    await copy(file, place.page, pagesOf(header));
  }
  for (const file of files) await file.sync();
}
