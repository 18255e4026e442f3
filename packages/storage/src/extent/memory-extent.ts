/** An extent that is nothing but memory: what structures are tested on, with `resident: false` also their waiting paths. */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "./extent-access.ts";

export class MemoryExtent implements ExtentAccess {
  readonly readonly: boolean;
  /** An extent may lose its memory, or get it, in the middle of a turn. */
  resident: boolean;
  generation = 0;
  ended = false;
  #bytes: Uint8Array;
  #length: number;

  /** @param resident false: `peek` never finds anything and every write waits a microtask */
  constructor(options: { bytes?: Uint8Array; resident?: boolean; readonly?: boolean } = {}) {
    this.#bytes = options.bytes?.slice() ?? new Uint8Array(4096);
    this.#length = options.bytes?.length ?? 0;
    this.resident = options.resident ?? true;
    this.readonly = options.readonly ?? false;
  }

  get lengthBytes(): number {
    return this.#length;
  }

  /** Everything, as stored. */
  get bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  peek(offset: number, byteCount: number): Uint8Array | undefined {
    this.#check(offset, byteCount);
    return this.resident ? this.#bytes.subarray(offset, offset + byteCount) : undefined;
  }

  read(offset: number, byteCount: number): Promise<Uint8Array> {
    this.#check(offset, byteCount);
    // A copy: whoever keeps it beyond the next write sees that it must not (X1).
    return Promise.resolve(this.#bytes.slice(offset, offset + byteCount));
  }

  write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    this.#writable();
    if (bytes.length === 0) return undefined;
    this.#grow(offset + bytes.length);
    this.#bytes.set(bytes, offset);
    return this.resident ? undefined : Promise.resolve();
  }

  give(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    return this.write(offset, bytes);
  }

  append(bytes: Uint8Array): number {
    const at = this.#length;
    void this.write(at, bytes);
    return at;
  }

  resize(lengthBytes: number): Promise<void> | undefined {
    this.#writable();
    if (lengthBytes < this.#length) this.#bytes.fill(0, lengthBytes, this.#length);
    this.#length = Math.min(this.#length, lengthBytes);
    this.#grow(lengthBytes);
    return this.resident ? undefined : Promise.resolve();
  }

  async waitFor<T>(work: Promise<T>): Promise<T> {
    this.#alive();
    const result = await work;
    this.#alive();
    return result;
  }

  /** Not released yet. */
  holds = 0;

  hold(): () => void {
    this.holds++;
    return () => this.holds--;
  }

  prefetch(): void {}

  /** What the end of a turn does. */
  end(): void {
    this.ended = true;
  }

  #alive(): void {
    if (this.ended) throw new PinionError("view-expired", "the turn of this extent is over");
  }

  #writable(): void {
    this.#alive();
    this.generation++;
    if (this.readonly)
      throw new PinionError("readonly-violation", "a readonly turn cannot write to an extent");
  }

  #check(offset: number, byteCount: number): void {
    this.#alive();
    if (offset < 0 || byteCount < 0 || offset + byteCount > this.#length) {
      throw new PinionError(
        "invalid-argument",
        `bytes ${offset} to ${offset + byteCount} of an extent of ${this.#length}`,
      );
    }
  }

  #grow(lengthBytes: number): void {
    if (lengthBytes > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(lengthBytes, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    if (lengthBytes > this.#length) this.#length = lengthBytes;
  }
}
