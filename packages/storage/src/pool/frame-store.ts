/**
 * Where the pool's frames lie: 4 KiB each, numbered from 0. Behind this port ordinary slabs, or a region of memory outside the heap.
 */
export const FRAME_BYTES = 4096;

export interface FrameStore {
  /** Frames it can ever have. */
  readonly framesMax: number;
  /** A frame's 4,096 bytes; what was in them before is undefined. */
  bytes(frame: number): Uint8Array;
  /** Gives memory back; the frames may be used again later. */
  discard(firstFrame: number, count: number): void;
}

/** 2 MiB. */
const SLAB_FRAMES = 512;

/** Slabs of ordinary memory, made when a frame in them is first used. A slab is given back when all of it is. */
export class SlabFrames implements FrameStore {
  readonly framesMax = 2 ** 31 - 1;
  readonly #slabs: (Uint8Array | undefined)[] = [];

  get allocatedBytes(): number {
    return this.#slabs.reduce((sum, slab) => sum + (slab?.length ?? 0), 0);
  }

  bytes(frame: number): Uint8Array {
    const slab = Math.floor(frame / SLAB_FRAMES);
    while (this.#slabs.length <= slab) this.#slabs.push(undefined);
    const bytes = (this.#slabs[slab] ??= new Uint8Array(SLAB_FRAMES * FRAME_BYTES));
    const at = (frame % SLAB_FRAMES) * FRAME_BYTES;
    return bytes.subarray(at, at + FRAME_BYTES);
  }

  discard(firstFrame: number, count: number): void {
    const end = Math.min(this.#slabs.length, Math.floor((firstFrame + count) / SLAB_FRAMES));
    for (let slab = Math.ceil(firstFrame / SLAB_FRAMES); slab < end; slab++)
      this.#slabs[slab] = undefined;
  }
}
