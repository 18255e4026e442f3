/**
 * Cuts a stream of bytes where its content says so: bytes inserted near the beginning move the cuts behind them along, and leave the
 * chunks as they were. Where exactly: chunk-kernels.ts.
 *
 * State: bytes that were given and not cut yet.
 *
 * C1 where a chunk ends depends on its own bytes and nothing else; not on how the stream was divided into parts.
 */
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, type ChunkKernels } from "./chunk-kernels.ts";

const NOTHING = new Uint8Array(0);

export class CdcChunker {
  /** The beginning of a chunk; allocated when a part first ends inside one. */
  #begun: Uint8Array | undefined;
  #begunBytes = 0;
  #part: Uint8Array = NOTHING;
  #last = false;
  #at = 0;
  readonly #kernels: ChunkKernels;

  constructor(kernels: ChunkKernels) {
    this.#kernels = kernels;
  }

  /**
   * The part that comes next. Its bytes are not copied: they must stay until `next` found no more.
   * @param last no other part follows; what is left of this one is then a chunk, too
   */
  push(part: Uint8Array, last = false): void {
    this.#part = part;
    this.#last = last;
    this.#at = 0;
  }

  /** Nothing that was given is still to be cut. */
  get isEmpty(): boolean {
    return this.#begunBytes === 0 && this.#at === this.#part.length;
  }

  /** The next whole chunk, good until the next call; undefined: it goes on in a part that is still to come. */
  next(): Uint8Array | undefined {
    return this.#begunBytes === 0 ? this.#nextOfPart() : this.#nextBegun();
  }

  #nextOfPart(): Uint8Array | undefined {
    const start = this.#at;
    const { length } = this.#part;
    if (start === length) return undefined;
    let end = -1;
    if (length - start >= CHUNK_BYTES_MIN) end = this.#kernels.cut(this.#part, start, length, 0);
    if (end === -1 && this.#last) end = length;
    if (end !== -1) {
      this.#at = end;
      return start === 0 && end === length ? this.#part : this.#part.subarray(start, end);
    }
    this.#keep(this.#part.subarray(start));
    return undefined;
  }

  #nextBegun(): Uint8Array | undefined {
    const before = this.#begunBytes;
    const more = this.#part.subarray(this.#at, this.#at + CHUNK_BYTES_MAX - before);
    this.#keep(more);
    const begun = this.#begun!;
    const end = this.#kernels.cut(begun, 0, this.#begunBytes, before);
    if (end === -1) return this.#last ? this.finish() : undefined;
    // What lies behind the cut is still in the part.
    this.#at = this.#at - more.length + (end - before);
    this.#begunBytes = 0;
    return begun.subarray(0, end);
  }

  #keep(bytes: Uint8Array): void {
    this.#at += bytes.length;
    this.#begun ??= new Uint8Array(CHUNK_BYTES_MAX);
    this.#begun.set(bytes, this.#begunBytes);
    this.#begunBytes += bytes.length;
  }

  /** The stream ends here: what is left of it, undefined if nothing is. */
  finish(): Uint8Array | undefined {
    const left = this.#begun?.subarray(0, this.#begunBytes);
    this.#begunBytes = 0;
    return left?.length ? left : undefined;
  }
}
