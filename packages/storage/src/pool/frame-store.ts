/**
 * Where the pool's frames lie: 4 KiB each, numbered from 0. Behind this port ordinary slabs, or a region of memory outside the heap.
 */
import type { Region } from "../memory/memory-door.ts";

export const FRAME_BYTES = 4096;

export interface FrameStore {
  /** Frames it can ever have. */
  readonly framesMax: number;
  /** The 4,096 bytes of a frame, and of those after it that lie right behind it; what was in them before is undefined. */
  bytes(frame: number, count?: number): Uint8Array;
  /** Whether the frame after this one lies right behind it. */
  adjoinsNext(frame: number): boolean;
  /** Gives the memory of this frame and all after it back; they may be used again later. */
  discardFrom(frame: number): void;
}

/** 2 MiB. */
const SLAB_FRAMES = 512;

/** Slabs of ordinary memory, made when a frame in them is first used. A slab is given back as a whole. */
export class SlabFrames implements FrameStore {
  readonly framesMax = 2 ** 31 - 1;
  readonly #slabs: Uint8Array[] = [];

  get allocatedBytes(): number {
    return this.#slabs.length * SLAB_FRAMES * FRAME_BYTES;
  }

  bytes(frame: number, count = 1): Uint8Array {
    const slab = Math.floor(frame / SLAB_FRAMES);
    // Frames are taken in order: there are no holes.
    if (slab >= this.#slabs.length) this.#slabs.push(new Uint8Array(SLAB_FRAMES * FRAME_BYTES));
    const bytes = this.#slabs[slab]!;
    const at = (frame % SLAB_FRAMES) * FRAME_BYTES;
    return bytes.subarray(at, at + count * FRAME_BYTES);
  }

  adjoinsNext(frame: number): boolean {
    return (frame + 1) % SLAB_FRAMES !== 0;
  }

  discardFrom(frame: number): void {
    this.#slabs.length = Math.min(this.#slabs.length, Math.ceil(frame / SLAB_FRAMES));
  }
}

/** Frames in a region of memory outside the heap, which the caller reserves and releases. They lie at multiples of 4,096 bytes, as direct reads need. */
export class RegionFrames implements FrameStore {
  readonly framesMax: number;
  readonly #region: Region;
  readonly #view: ArrayBuffer;

  constructor(region: Region) {
    this.#region = region;
    this.framesMax = Math.floor(region.byteCount / FRAME_BYTES);
    this.#view = region.view(0, region.byteCount);
  }

  bytes(frame: number, count = 1): Uint8Array {
    return new Uint8Array(this.#view, frame * FRAME_BYTES, count * FRAME_BYTES);
  }

  adjoinsNext(): boolean {
    return true;
  }

  discardFrom(frame: number): void {
    const at = frame * FRAME_BYTES;
    if (at < this.#region.byteCount) this.#region.discard(at, this.#region.byteCount - at);
  }
}
