/**
 * Which page is in which frame, and who needs it to stay there. 21 bytes a frame.
 *
 * State: per frame its key, its references and flags; the free frames below `#fresh`, above which all frames are free.
 *
 * T1 a frame is free, or occupied; an occupied frame that is `indexed` is the only one of its key.
 * T2 an occupied frame that nobody references, the policy does not keep and no read fills is vacated at once: see `settle`.
 * T3 no more than `limit` frames are occupied, but for those that were in use when the limit was lowered.
 */
import { assert } from "@pinion/core";
import { KeyIndex, NO_SLOT } from "./key-index.ts";
import type { FrameStore } from "./frame-store.ts";

export const NO_FRAME = NO_SLOT;
const REFERENCES_MAX = 65_535;

export const FrameFlag = Object.freeze({
  occupied: 1,
  /** Found by its key. */
  indexed: 2,
  /** A read is filling it. */
  loading: 4,
  /** The policy keeps it. */
  kept: 8,
  /** Brought in on a guess, not read yet. */
  guessed: 16,
} as const);

export class FrameTable {
  readonly #store: FrameStore;
  readonly #drop: (frame: number) => void;
  #keys: Float64Array;
  #index: KeyIndex;
  #references: Uint16Array;
  #flags: Uint8Array;
  #limit: number;
  #fresh = 0;
  #free: number[] = [];
  /** Occupied frames from the limit on (T3). */
  #above = 0;
  #occupied = 0;
  #inUse = 0;

  /** @param drop called for a page that must go because its frame does: it is no longer kept afterwards */
  constructor(store: FrameStore, limit: number, drop: (frame: number) => void) {
    this.#store = store;
    this.#drop = drop;
    this.#limit = limit;
    this.#keys = new Float64Array(limit);
    this.#index = new KeyIndex(this.#keys);
    this.#references = new Uint16Array(limit);
    this.#flags = new Uint8Array(limit);
  }

  get limit(): number {
    return this.#limit;
  }

  get occupied(): number {
    return this.#occupied;
  }

  /** Frames with references. */
  get inUse(): number {
    return this.#inUse;
  }

  find(key: number): number {
    return this.#index.find(key);
  }

  keyOf(frame: number): number {
    return this.#keys[frame]!;
  }

  /** Keys that are found, from `from` on, below `to`. */
  keysIn(from: number, to: number): number[] {
    const keys: number[] = [];
    for (let frame = 0; frame < this.#fresh; frame++) {
      const key = this.#keys[frame]!;
      if (key >= from && key < to && this.has(frame, FrameFlag.indexed)) keys.push(key);
    }
    return keys;
  }

  has(frame: number, flag: number): boolean {
    return (this.#flags[frame]! & flag) !== 0;
  }

  set(frame: number, flag: number): void {
    this.#flags[frame]! |= flag;
  }

  clear(frame: number, flag: number): void {
    this.#flags[frame]! &= ~flag;
  }

  bytes(frame: number): Uint8Array {
    return this.#store.bytes(frame);
  }

  /** The bytes of these frames, one after the other, in as few pieces as they lie in. */
  pieces(frames: readonly number[]): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (let i = 0, first = 0; i < frames.length; i++) {
      const frame = frames[i]!;
      if (frames[i + 1] === frame + 1 && this.#store.adjoinsNext(frame)) continue;
      pieces.push(this.#store.bytes(frames[first]!, i + 1 - first));
      first = i + 1;
    }
    return pieces;
  }

  /** Of the next `count` frames that are taken, each lies behind the one before: what is read at once then goes into few pieces of memory. */
  arrange(count: number): void {
    const from = Math.max(0, this.#free.length - count);
    const next = this.#free.splice(from).sort((a, b) => b - a);
    for (const frame of next) this.#free.push(frame);
  }

  /** A free frame for `key`, indexed, without references; `NO_FRAME` when the limit is reached. Until `settle` it must be referenced or kept. */
  take(key: number): number {
    if (this.#occupied >= this.#limit) return NO_FRAME;
    const frame = this.#free.pop() ?? this.#fresh;
    assert(frame < this.#limit, "frames are occupied that nobody counted");
    if (frame === this.#fresh) this.#fresh++;
    this.#occupied++;
    this.#keys[frame] = key;
    this.#flags[frame] = FrameFlag.occupied | FrameFlag.indexed;
    this.#index.add(frame);
    return frame;
  }

  reference(frame: number): void {
    const before = this.#references[frame]!++;
    assert(before < REFERENCES_MAX, "a page has more readers than can be counted");
    if (before === 0) this.#inUse++;
  }

  release(frame: number): void {
    assert(this.#references[frame]! > 0, "a page was released once too often");
    if (--this.#references[frame]! > 0) return;
    this.#inUse--;
    // In use when the limit was lowered.
    const mustGo = frame >= this.#limit || this.#occupied > this.#limit;
    if (mustGo && this.has(frame, FrameFlag.kept)) this.#drop(frame);
    else this.settle(frame);
  }

  /** Nobody finds the page any more; whoever has it keeps it. */
  hide(frame: number): void {
    if (!this.has(frame, FrameFlag.indexed)) return;
    this.#index.remove(frame);
    this.clear(frame, FrameFlag.indexed);
  }

  /** Vacates the frame if nothing holds it (T2). @returns whether it did */
  settle(frame: number): boolean {
    const held = FrameFlag.loading | FrameFlag.kept;
    if (this.#references[frame]! > 0 || this.has(frame, held)) return false;
    this.hide(frame);
    this.#flags[frame] = 0;
    this.#occupied--;
    if (frame < this.#limit) this.#free.push(frame);
    else if (--this.#above === 0) {
      this.#store.discardFrom(this.#limit);
      this.#fresh = this.#limit;
    }
    return true;
  }

  /**
   * Changes the number of frames. The caller has seen to it that there are not more pages than that, as far as they are not in use.
   */
  resize(limit: number): void {
    this.#limit = limit;
    if (limit > this.#keys.length) this.#enlarge(limit);
    this.compact(limit);
    this.#above = 0;
    for (let frame = limit; frame < this.#fresh; frame++) {
      if (this.#flags[frame] !== 0) this.#above++;
    }
  }

  /** Moves pages that are not in use from frames from `below` on to free ones below, and gives the memory above the last page back. */
  compact(below: number): void {
    const free: number[] = [];
    for (let frame = 0; frame < Math.min(below, this.#fresh); frame++)
      if (this.#flags[frame] === 0) free.push(frame);
    free.reverse();
    let top = Math.min(below, this.#fresh);
    for (let frame = below; frame < this.#fresh; frame++) {
      if (this.#flags[frame] === 0) continue;
      if (this.#references[frame]! > 0) top = frame + 1;
      else if (free.length > 0) this.#move(frame, free.pop()!);
      else this.#drop(frame);
    }
    // Low ones are taken first, those from the limit on never.
    const above: number[] = [];
    for (let frame = Math.min(top, this.#limit) - 1; frame >= below; frame--)
      if (this.#flags[frame] === 0) above.push(frame);
    this.#free = [...above, ...free];
    if (this.#fresh > top) this.#store.discardFrom(top);
    this.#fresh = top;
  }

  #move(from: number, to: number): void {
    this.#store.bytes(to).set(this.#store.bytes(from));
    const key = this.#keys[from]!;
    this.#index.remove(from);
    this.#keys[to] = key;
    this.#index.add(to);
    this.#flags[to] = this.#flags[from]!;
    this.#flags[from] = 0;
  }

  #enlarge(frames: number): void {
    const keys = new Float64Array(frames);
    keys.set(this.#keys);
    const references = new Uint16Array(frames);
    references.set(this.#references);
    const flags = new Uint8Array(frames);
    flags.set(this.#flags);
    this.#keys = keys;
    this.#references = references;
    this.#flags = flags;
    this.#index = new KeyIndex(keys);
    for (let frame = 0; frame < this.#fresh; frame++)
      if (this.has(frame, FrameFlag.indexed)) this.#index.add(frame);
  }
}
