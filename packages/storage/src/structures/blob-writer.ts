/**
 * A blob while it is written: its parts go through the chunker, chunks into the store. Between turns what it has come to is kept in an
 * unfinished record.
 *
 * State: the record as it will be; chunks that are not in it yet.
 *
 * W1 a list is written when it is full, and a record when the turn pauses or the blob is finished.
 * W2 the old blob of the name stays what readers see until `finish`.
 */
import { PinionError } from "@pinion/core";
import type { BlobChunks, ChunkRef } from "./blob-chunks.ts";
import type { BlobLayout } from "./blob-layout.ts";
import {
  FINISHED,
  LIST_REFERENCES_MAX,
  UNFINISHED,
  type BlobRecord,
  type BlobRecords,
} from "./blob-records.ts";
import type { ChunkBatch, ChunkOwner } from "./chunk-batch.ts";
import { ChunkIntake } from "./chunk-intake.ts";
import type { ChunkKernels } from "./chunk-kernels.ts";
import type { MaybePromise, Steps, Writes } from "./structure.ts";

/** What the writers of a handle share. */
export interface BlobParts {
  readonly layout: BlobLayout;
  readonly chunks: BlobChunks;
  readonly records: BlobRecords;
  readonly writes: Writes;
  readonly kernels: ChunkKernels;
  /** Ends an operation: releases some of what was deleted, and writes the header. */
  end(): Steps<void>;
}

export class BlobWriter implements ChunkOwner {
  readonly name: string;
  readonly #parts: BlobParts;
  readonly #intake: ChunkIntake;
  #refs: ChunkRef[];
  /** The unfinished record, once there is one. */
  #record: BlobRecord | undefined;
  #byteCount: number;
  #firstList: number;
  #lastList: number;
  #lists: number;
  #over = false;
  /** Of the extent, from the first write on until a record refers to all that was written. */
  #release: (() => void) | undefined;

  /** Use `BlobHandle.begin` or `resume`. @param record unfinished, to be continued */
  constructor(parts: BlobParts, name: string, record?: BlobRecord, intake = newIntake(parts)) {
    this.#parts = parts;
    this.#intake = intake;
    this.name = name;
    this.#record = record;
    this.#refs = record === undefined ? [] : [...record.rest];
    this.#byteCount = record?.byteCount ?? 0;
    this.#firstList = record?.firstList ?? 0;
    this.#lastList = record?.lastList ?? 0;
    this.#lists = record?.lists ?? 0;
  }

  /** Bytes that were written so far. */
  get byteCount(): number {
    return this.#byteCount;
  }

  /**
   * Adds bytes, which must stay as they are until this is done.
   * @throws `write-set-too-large`, also for what was written before: then the turn cannot commit; write less in each
   */
  write(part: Uint8Array): MaybePromise<void> {
    return this.#run(this.#write(part));
  }

  /**
   * Keeps what was written for a later turn: `resume(name)` goes on from here. A chunk ends here, too, so let parts be of a megabyte or
   * more. A turn that has written to a blob and ends without this, `finish` or `abandon` fails: nothing would know of the room that takes.
   */
  pause(): MaybePromise<void> {
    return this.#run(this.#pause());
  }

  /** What was written is the blob of this name from now on. */
  finish(): MaybePromise<void> {
    return this.#run(this.#finish());
  }

  /** Throws away what was written, also in earlier turns. */
  abandon(): MaybePromise<void> {
    return this.#run(this.discard());
  }

  #run(steps: Steps<void>): MaybePromise<void> {
    if (this.#over)
      throw new PinionError(
        "invalid-argument",
        `blob ${this.name} was finished, paused or abandoned`,
      );
    return this.#parts.writes.run(steps);
  }

  *#write(part: Uint8Array): Steps<void> {
    yield* this.take(part, false);
    yield* this.#parts.end();
  }

  /** @param last the blob ends with this part: it is finished once the intake has stored all of it @internal */
  *take(part: Uint8Array, last: boolean): Steps<void> {
    this.#release ??= this.#parts.layout.extent.hold();
    if (!this.#parts.layout.isLoaded) yield* this.#parts.layout.load();
    const { length } = part;
    yield* this.#intake.take(part, this, last);
    this.#byteCount += length;
  }

  /** @internal */
  *store(batch: ChunkBatch, index: number): Steps<void> {
    if (this.#refs.length === LIST_REFERENCES_MAX) {
      const list = yield* this.#parts.records.addList(this.#refs, this.#lastList);
      if (this.#firstList === 0) this.#firstList = list;
      this.#lastList = list;
      this.#lists++;
      this.#refs = [];
    }
    this.#refs.push(yield* this.#parts.chunks.store(batch, index));
  }

  *#storeRest(): Steps<void> {
    yield* this.#parts.layout.load();
    yield* this.#intake.finish(this);
    this.#over = true;
  }

  *#pause(): Steps<void> {
    yield* this.#storeRest();
    const known = this.#record;
    const room = known?.room ?? (yield* this.#parts.records.take(this.name, LIST_REFERENCES_MAX));
    const record = this.#recordAs(UNFINISHED, room);
    yield* this.#enter(record);
    yield* this.#parts.end();
  }

  *#finish(): Steps<void> {
    yield* this.#storeRest();
    yield* this.complete();
    yield* this.#parts.end();
  }

  /** Makes it the blob of its name. @internal */
  *complete(): Steps<void> {
    const { layout, records } = this.#parts;
    this.#over = true;
    const old = yield* records.find(this.name, FINISHED);
    if (old !== undefined) yield* records.discard(old);
    const room = this.#record?.room ?? (yield* records.take(this.name, this.#refs.length));
    yield* this.#enter(this.#recordAs(FINISHED, room));
    layout.add("blobs", 1);
    layout.add("blobBytes", this.#byteCount);
  }

  *#enter(record: BlobRecord): Steps<void> {
    const { records } = this.#parts;
    const written = records.write(record);
    if (written !== undefined) yield written;
    const entering = this.#record === undefined ? records.enter(record) : undefined;
    if (entering !== undefined) yield* entering;
    this.#release?.();
  }

  /** @internal */
  *discard(): Steps<void> {
    const { layout, records } = this.#parts;
    yield* layout.load();
    this.#over = true;
    const room = this.#record?.room ?? (yield* records.take(this.name, this.#refs.length));
    yield* records.discard(this.#recordAs(UNFINISHED, room));
    this.#release?.();
    yield* this.#parts.end();
  }

  #recordAs(status: number, room: BlobRecord["room"]): BlobRecord {
    return {
      room,
      status,
      name: this.name,
      byteCount: this.#byteCount,
      firstList: this.#firstList,
      lastList: this.#lastList,
      lists: this.#lists,
      nextDeleted: 0,
      rest: this.#refs,
    };
  }
}

function newIntake({ kernels, layout }: BlobParts): ChunkIntake {
  return new ChunkIntake(kernels, layout.extent);
}
