/**
 * `blob(options)`: named sequences of bytes of any length, cut into chunks by content, each chunk stored once however many blobs have
 * it. Reading and writing take the memory of a few chunks. Formats: blob-layout.ts, blob-index.ts, blob-chunks.ts, blob-records.ts.
 *
 * B1 a turn can write 16 MiB. What is longer is written in several: `begin` and `pause` in the first, `resume` and `pause` in the
 *    next ones, `resume` and `finish` in the last.
 * B2 the room of deleted blobs is released by the operations that follow, 64 chunks each, or by `reclaim`; the next chunks use it. The
 *    extent does not shrink.
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { GROW_BYTES } from "../extent/growth.ts";
import { chunkKernels } from "./addon-chunk-kernels.ts";
import { BlobChunks, type ChunkRef } from "./blob-chunks.ts";
import { BlobIndex } from "./blob-index.ts";
import { BLOB_VERSION, BlobLayout } from "./blob-layout.ts";
import { BlobRecords, checkName, FINISHED, UNFINISHED, type BlobRecord } from "./blob-records.ts";
import { BlobWriter, type BlobParts } from "./blob-writer.ts";
import { ChunkIntake } from "./chunk-intake.ts";
import type { ChunkKernels } from "./chunk-kernels.ts";
import {
  drive,
  resolveGrow,
  Writes,
  type MaybePromise,
  type Steps,
  type StructureDefinition,
} from "./structure.ts";

export interface BlobOptions {
  /** Room the extent gains at a time at most: bytes, or "64MiB", which is the default. */
  readonly grow?: string | number;
}

export interface BlobInfo {
  readonly name: string;
  readonly byteCount: number;
}

export interface BlobStats {
  readonly blobs: number;
  /** Bytes of all blobs. */
  readonly blobBytes: number;
  readonly chunks: number;
  /** Bytes of all chunks: what is left of `blobBytes` by storing each once. Unfinished and deleted blobs have chunks, too. */
  readonly chunkBytes: number;
  /** In rooms that the next chunks use. */
  readonly freeBytes: number;
  readonly extentBytes: number;
}

/** References released by every operation that writes. */
const RECLAIMED_EACH = 64;

/** @throws `config-invalid` */
export function blob(options: BlobOptions = {}): StructureDefinition<BlobHandle> {
  const cap = resolveGrow(options.grow, GROW_BYTES.default);
  return Object.freeze({
    kind: "blob",
    version: BLOB_VERSION,
    options: Object.freeze({ ...cap }),
    open: (extent: ExtentAccess) => new BlobHandle(extent),
  });
}

/**
 * A blob store as a turn sees it. One handle for an extent and turn. Every operation can throw `corruption`, `format-too-new` and
 * `view-expired`, those that write also `readonly-violation` and `write-set-too-large`, those with a name `invalid-argument`.
 */
export class BlobHandle {
  readonly #extent: ExtentAccess;
  readonly #layout: BlobLayout;
  readonly #chunks: BlobChunks;
  readonly #records: BlobRecords;
  readonly #parts: BlobParts;

  constructor(extent: ExtentAccess, kernels: ChunkKernels = chunkKernels()) {
    const layout = new BlobLayout(extent);
    this.#extent = extent;
    this.#layout = layout;
    this.#chunks = new BlobChunks(layout, new BlobIndex(layout, "chunkRoot"));
    this.#records = new BlobRecords(
      layout,
      new BlobIndex(layout, "nameRoot"),
      this.#chunks,
      kernels,
    );
    const writes = new Writes("blob", () => layout.forget());
    const end = (): Steps<void> => this.#end(RECLAIMED_EACH);
    this.#parts = { layout, chunks: this.#chunks, records: this.#records, writes, kernels, end };
  }

  #read<R>(steps: Steps<R>): MaybePromise<R> {
    return this.#parts.writes.read(() => drive(steps));
  }

  *#end(reclaimed: number): Steps<void> {
    if (this.#layout.get("deleted") !== 0) yield* this.#records.reclaim(reclaimed);
    yield* this.#layout.save();
  }

  /**
   * Stores a blob, instead of the one of this name if there is one. Of a source that fails nothing is left.
   * @param content bytes, or a source of parts; a part is not touched any more once the next was asked for
   */
  async put(name: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    checkName(name); // before anything is written
    if (content instanceof Uint8Array)
      return this.#parts.writes.run(this.#putAll([[name, content]]));
    const writer = new BlobWriter(this.#parts, name);
    try {
      for await (const part of content) await writer.write(part);
    } catch (e) {
      // Where it was the extent that failed, this fails as well, and the turn with it.
      try {
        await writer.abandon();
      } catch {}
      throw e;
    }
    await writer.finish();
  }

  /**
   * Stores many blobs, in this order. For small ones this takes two thirds of the time of one by one: they are hashed together, beside the
   * event loop where there is a processor for it.
   * @param blobs names and contents, which must stay as they are until this is done. If it throws, those before are stored
   */
  async putAll(blobs: Iterable<readonly [name: string, content: Uint8Array]>): Promise<void> {
    return this.#parts.writes.run(this.#putAll(blobs));
  }

  *#putAll(blobs: Iterable<readonly [name: string, content: Uint8Array]>): Steps<void> {
    const { layout, kernels } = this.#parts;
    const intake = new ChunkIntake(kernels, layout.extent);
    let taken: BlobWriter | undefined;
    try {
      for (const [name, content] of blobs) {
        checkName(name);
        taken = new BlobWriter(this.#parts, name, undefined, intake);
        yield* taken.take(content, true);
        taken = undefined;
        if (layout.get("deleted") !== 0) yield* this.#records.reclaim(RECLAIMED_EACH);
      }
    } catch (e) {
      // Where it was the extent that failed, this fails as well, and the turn with it.
      try {
        yield* intake.drain();
        if (taken !== undefined) yield* taken.discard(); // what was stored of it
        yield* this.#endPuts(intake);
      } catch {}
      throw e;
    }
    yield* this.#endPuts(intake);
  }

  *#endPuts(intake: ChunkIntake): Steps<void> {
    yield* intake.drain();
    if (this.#layout.isLoaded) yield* this.#end(RECLAIMED_EACH); // otherwise there was none
  }

  /** Begins a blob that takes several turns (B1). What was begun under this name before is thrown away. */
  async begin(name: string): Promise<BlobWriter> {
    await this.#parts.writes.run(this.#discard(name, UNFINISHED));
    return new BlobWriter(this.#parts, name);
  }

  /** Goes on with a blob that was begun in an earlier turn. @throws `not-found` */
  async resume(name: string): Promise<BlobWriter> {
    const record = await this.#read(this.#find(name, UNFINISHED));
    if (record === undefined)
      throw new PinionError("not-found", `no blob ${JSON.stringify(name)} was begun`);
    return new BlobWriter(this.#parts, name, record);
  }

  /**
   * The bytes of a blob, chunk by chunk; copies. To be read in this turn.
   * @throws `not-found`; `view-expired` once the blob was deleted or replaced
   */
  async *get(name: string): AsyncGenerator<Uint8Array> {
    const record = await this.#read(this.#find(name, FINISHED));
    if (record === undefined) throw new PinionError("not-found", `no blob ${JSON.stringify(name)}`);
    const { offset } = record.room;
    const discards = this.#records.discards(offset);
    const checkThere = (): void => {
      if (this.#records.discards(offset) === discards) return;
      throw new PinionError(
        "view-expired",
        `blob ${JSON.stringify(name)} is no longer what it was`,
      );
    };
    let list = record.firstList;
    for (let i = 0; i < record.lists; i++) {
      checkThere();
      const { refs, next } = await this.#read(this.#records.readList(list));
      yield* this.#chunksOf(refs, checkThere);
      list = next;
    }
    yield* this.#chunksOf(record.rest, checkThere);
  }

  async *#chunksOf(refs: readonly ChunkRef[], checkThere: () => void): AsyncGenerator<Uint8Array> {
    for (let i = 0; i < refs.length; i++) {
      checkThere();
      const next = refs[i + 1];
      if (next !== undefined && next.offset + next.byteCount <= this.#extent.lengthBytes)
        this.#extent.prefetch(next.offset, next.byteCount);
      yield await this.#read(this.#chunks.read(refs[i]!));
    }
  }

  /** Undefined: there is none. */
  stat(name: string): MaybePromise<BlobInfo | undefined> {
    return this.#read(this.#stat(name));
  }

  *#stat(name: string): Steps<BlobInfo | undefined> {
    const record = yield* this.#find(name, FINISHED);
    return record && { name, byteCount: record.byteCount };
  }

  /** @returns whether there was one */
  delete(name: string): MaybePromise<boolean> {
    return this.#parts.writes.run(this.#discard(name, FINISHED));
  }

  /** All blobs that are finished, in no particular order; some 50 bytes of memory for each. What comes meanwhile is left out. */
  list(): AsyncGenerator<BlobInfo> {
    return this.#list(FINISHED);
  }

  /** Those that were begun. */
  unfinished(): AsyncGenerator<BlobInfo> {
    return this.#list(UNFINISHED);
  }

  async *#list(status: number): AsyncGenerator<BlobInfo> {
    await this.#read(this.#layout.load());
    const offsets = await this.#read(this.#records.offsets());
    const discards = new Map(offsets.map((offset) => [offset, this.#records.discards(offset)]));
    for (const [offset, before] of discards) {
      if (this.#records.discards(offset) !== before) continue;
      const record = await this.#read(this.#records.read(offset));
      if (record.status === status) yield { name: record.name, byteCount: record.byteCount };
    }
  }

  /**
   * Releases what deleted blobs referred to (B2).
   * @param limit references at most; each may change a page, so 2,000 fit into a turn
   * @returns whether everything is released
   */
  reclaim(limit = 1000): MaybePromise<boolean> {
    return this.#parts.writes.run(this.#reclaim(limit));
  }

  *#reclaim(limit: number): Steps<boolean> {
    yield* this.#layout.load();
    if (this.#layout.get("deleted") !== 0) yield* this.#end(limit);
    return this.#layout.get("deleted") === 0;
  }

  stats(): MaybePromise<BlobStats> {
    return this.#read(this.#stats());
  }

  *#stats(): Steps<BlobStats> {
    const layout = this.#layout;
    yield* layout.load();
    return {
      blobs: layout.get("blobs"),
      blobBytes: layout.get("blobBytes"),
      chunks: layout.get("chunks"),
      chunkBytes: layout.get("chunkBytes"),
      freeBytes: layout.get("freeBytes"),
      extentBytes: this.#extent.lengthBytes,
    };
  }

  *#find(name: string, status: number): Steps<BlobRecord | undefined> {
    yield* this.#layout.load();
    return yield* this.#records.find(name, status);
  }

  *#discard(name: string, status: number): Steps<boolean> {
    const record = yield* this.#find(name, status);
    if (record === undefined) return false;
    yield* this.#records.discard(record);
    yield* this.#end(RECLAIMED_EACH);
    return true;
  }
}
