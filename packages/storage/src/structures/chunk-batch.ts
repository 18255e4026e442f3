/**
 * Chunks on their way into a blob store: copied side by side, each behind room for the header it gets there (blob-chunks.ts), so that they
 * can be hashed off the event loop whatever becomes of the memory they came in, and each is then written at once.
 *
 * State: for each thread how many there are, and a few that are not in use.
 *
 * G1 a batch is given back once its hashes are there; one that is dropped before is left to the garbage collector, which work under way keeps
 *    away until its end.
 * G2 the event loop does not wait for work that no thread has begun: it takes the ticket back, and hashes itself. On a machine that is busy
 *    with other things that is most of it. No ticket is ever given twice, so work that comes too late touches nothing.
 */
import { assert } from "@pinion/core";
import {
  CHUNK_BYTES_MAX,
  CHUNKS_AT_ONCE,
  PLACE_WORDS,
  TICKET_BYTES,
  type ChunkKernels,
} from "./chunk-kernels.ts";
import type { Steps } from "./structure.ts";

export const CHUNK_HEADER_BYTES = 48;
export const CHUNK_HASH_AT = 16;
/** What a ticket is modulo 4: the hashes are to be computed, are being computed by somebody, are there. */
const OPEN = 0;
const DONE = 2;
const TICKET_STATES = 4;
/** Behind the ticket. */
const FIRST_AT = 2 * TICKET_BYTES;
/** Some forty chunks: hashed in about 200 µs, where handing them over costs 10 to 50. */
const BATCH_BYTES = 512 * 1024;
const FREE_BATCHES_MAX = 4;
/** 16 MiB that writers may keep while they wait for what they are to write. */
const KEPT_BATCHES_MAX = 32;

/** Whose chunk it is. */
export interface ChunkOwner {
  /** Its next chunk, whose hash is there. */
  store(batch: ChunkBatch, index: number): Steps<void>;
  /** That was the last one. */
  complete(): Steps<void>;
}

const free: ChunkBatch[] = [];
let existing = 0;
const collected = new FinalizationRegistry<void>(() => existing--);

export class ChunkBatch {
  readonly bytes = new Uint8Array(BATCH_BYTES);
  readonly view = new DataView(this.bytes.buffer);
  readonly #ticket = new Int32Array(this.bytes.buffer, 0, 1);
  readonly #places = new Uint32Array(CHUNKS_AT_ONCE * PLACE_WORDS);
  readonly #owners: ChunkOwner[] = [];
  /** 1: the last chunk of its owner. */
  readonly #lasts = new Uint8Array(CHUNKS_AT_ONCE);
  #count = 0;
  #used = FIRST_AT;

  private constructor() {
    existing++;
    collected.register(this, undefined);
  }

  /** More than writers should keep between operations. */
  static get areMany(): boolean {
    return existing - free.length > KEPT_BATCHES_MAX;
  }

  /** An empty one. */
  static take(): ChunkBatch {
    return free.pop() ?? new ChunkBatch();
  }

  /** G1. */
  giveBack(): void {
    this.#ticket[0] = (this.#ticket[0]! | (TICKET_STATES - 1)) + 1;
    this.#owners.length = 0;
    this.#count = 0;
    this.#used = FIRST_AT;
    if (free.length < FREE_BATCHES_MAX) free.push(this);
  }

  get count(): number {
    return this.#count;
  }

  /** Copies a chunk. @param last its owner has no other @returns false: there is no room */
  add(chunk: Uint8Array, owner: ChunkOwner, last: boolean): boolean {
    const from = this.#used + CHUNK_HEADER_BYTES;
    assert(chunk.length <= CHUNK_BYTES_MAX, "a chunk that is too long");
    if (from + chunk.length > BATCH_BYTES || this.#count === CHUNKS_AT_ONCE) return false;
    this.bytes.set(chunk, from);
    const place = this.#count * PLACE_WORDS;
    this.#places[place] = this.#used + CHUNK_HASH_AT;
    this.#places[place + 1] = from;
    this.#places[place + 2] = chunk.length;
    this.#used = Math.ceil((from + chunk.length) / 8) * 8;
    this.#owners.push(owner);
    this.#lasts[this.#count] = last ? 1 : 0;
    this.#count++;
    return true;
  }

  /** Gives all chunks, whose hashes are there, to their owners. */
  *store(): Steps<void> {
    for (let i = 0; i < this.#count; i++) {
      const owner = this.#owners[i]!;
      yield* owner.store(this, i);
      if (this.#lasts[i] === 1) yield* owner.complete();
    }
  }

  /** Where the header of a chunk is; its bytes follow. */
  offsetOf(index: number): number {
    return this.#places[index * PLACE_WORDS + 1]! - CHUNK_HEADER_BYTES;
  }

  lengthOf(index: number): number {
    return this.#places[index * PLACE_WORDS + 2]!;
  }

  /** Puts the hashes into the headers. */
  hash(kernels: ChunkKernels): void {
    kernels.hash(this.bytes, this.#places, this.#count);
  }

  /** The same off the event loop; undefined: it was not possible, they are there. */
  hashLater(kernels: ChunkKernels): Promise<void> | undefined {
    const ticket = this.#ticket[0]!;
    const done = kernels.hashLater(this.bytes, this.#places, this.#count, ticket >>> 0);
    if (done === undefined) this.hash(kernels);
    return done;
  }

  /** For who needs the hashes now and would wait for `done` (G2). @returns whether they are there */
  hashNow(kernels: ChunkKernels): boolean {
    const ticket = Atomics.load(this.#ticket, 0);
    const state = ticket & (TICKET_STATES - 1);
    if (state === DONE) return true;
    if (state !== OPEN || Atomics.compareExchange(this.#ticket, 0, ticket, ticket + 1) !== ticket)
      return false;
    this.hash(kernels);
    return true;
  }
}
