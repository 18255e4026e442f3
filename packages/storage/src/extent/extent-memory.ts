/** Where the bytes of resident extents live: a port, with ordinary buffers as its simplest implementation. */

/** The memory of one extent. Bytes that were never written are zeros. */
export interface ExtentMemory {
  /** The whole capacity. Detached (length 0) once it was released. */
  readonly bytes: Uint8Array;
  /** Memory for an extent that has outgrown this one; undefined when there is no room. */
  larger(byteCount: number): ExtentMemory | undefined;
  /** The extent now ends here: a chance to have the next part ready. */
  grown?(lengthBytes: number): void;
  release(): void;
}

export interface ExtentMemorySource {
  /** @returns undefined when there is no room: the extent stays on disk and is read page by page */
  allocate(byteCount: number): ExtentMemory | undefined;
}

/** Buffers outside the JavaScript heap, bounded in sum. */
export class BufferMemory implements ExtentMemorySource {
  readonly #bytesMax: number;
  #used = 0;

  constructor(bytesMax = Infinity) {
    this.#bytesMax = bytesMax;
  }

  get usedBytes(): number {
    return this.#used;
  }

  allocate(byteCount: number): ExtentMemory | undefined {
    if (this.#used + byteCount > this.#bytesMax) return undefined;
    this.#used += byteCount;
    let released = false;
    return {
      bytes: new Uint8Array(byteCount),
      larger: (bytes) => this.allocate(bytes),
      release: () => {
        if (!released) this.#used -= byteCount;
        released = true;
      },
    };
  }
}
