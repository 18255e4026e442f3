/**
 * The pool's policy. A `ProbationCache` holds the pages; how large its T1 and its ghost list should be depends on the load, and no signal
 * within one cache tells that reliably. So a few miniature copies of it, each with another setting, see one page in 64 (chosen by a hash of the key) and have a
 * 64th of the capacity: what would happen to the whole cache happens to them (Waldspurger, Saemundsson, Ahmad, Park: "Cache Modeling and
 * Optimization using Miniature Simulations", USENIX ATC 2017). The cache follows the setting with the most hits of late.
 *
 * The controller is damped three times: hits are counted over about two fillings of the cache, a setting must lead by 0.2 % of the reads to take over,
 * and then T1 moves by a page per 50 accesses.
 *
 * V1 the miniatures see the same share of keys always, with the same hints, and only keys: what they decide never touches a page.
 */
import { hashKey } from "./key-index.ts";
import { ProbationCache } from "./probation-cache.ts";
import type { AdmissionHint, CachePolicy, OnEvict, PolicySizes } from "./cache-policy.ts";

export interface Setting {
  /** Share of the capacity for T1. */
  readonly t1Share: number;
  /** Ghosts, as a share of the capacity. */
  readonly ghostShare: number;
}

export interface SteeredOptions {
  /** Tried against each other. */
  readonly settings: readonly Setting[];
  /** Index of the one to start with. */
  readonly start: number;
  /** One page in so many is simulated, unless the cache is small. */
  readonly sampleEvery: number;
  /** Pages of a miniature at least; more of the pages are simulated for it. */
  readonly miniaturePagesMin: number;
  /** How far back hits count, in fillings of the cache. */
  readonly memoryFillings: number;
  /** By how much of the reads a setting must lead. */
  readonly lead: number;
  /** Pages by which T1's target moves per access. */
  readonly step: number;
}

/** Tuned on the reference traces; the table of what else was tried is in docs/buffer-pool.md. */
export const STEERED_DEFAULTS: SteeredOptions = Object.freeze({
  settings: Object.freeze([
    { t1Share: 0.01, ghostShare: 0.9 },
    { t1Share: 0.04, ghostShare: 0.9 },
    { t1Share: 0.1, ghostShare: 0.9 },
    { t1Share: 0.25, ghostShare: 0.9 },
  ]),
  start: 2,
  sampleEvery: 64,
  miniaturePagesMin: 256,
  memoryFillings: 2,
  lead: 0.002,
  step: 0.02,
});

const MINIATURE_PAGES_FLOOR = 8;
const TWO_32 = 4_294_967_296;
const SAMPLE_SALT = 0x5bd1e995;
const nobody: OnEvict = () => {};

export class SteeredPolicy implements CachePolicy {
  readonly #onEvict: OnEvict;
  readonly #options: SteeredOptions;
  readonly #ghostShareMax: number;
  #cache: ProbationCache;
  #setting: number;
  #miniatures: readonly ProbationCache[] = [];
  /** Keys whose hash is below are simulated. */
  #sampleBelow = 0;
  /** Hits of each miniature, and the reads they saw; old ones fade by `#fade` with each read. */
  readonly #hits: Float64Array;
  #reads = 0;
  #fade = 0;

  constructor(capacity: number, onEvict: OnEvict, options: SteeredOptions = STEERED_DEFAULTS) {
    this.#onEvict = onEvict;
    this.#options = options;
    this.#ghostShareMax = Math.max(...options.settings.map(({ ghostShare }) => ghostShare));
    this.#setting = options.start;
    this.#hits = new Float64Array(options.settings.length);
    this.#cache = this.#newCache(capacity);
    this.#startMiniatures(capacity);
  }

  get #wanted(): Setting {
    return this.#options.settings[this.#setting]!;
  }

  get capacity(): number {
    return this.#cache.capacity;
  }

  get size(): number {
    return this.#cache.size;
  }

  /** Bytes of its tables. */
  get byteCount(): number {
    return this.#miniatures.reduce((sum, { byteCount }) => sum + byteCount, this.#cache.byteCount);
  }

  #newCache(capacity: number): ProbationCache {
    const options = { ...this.#wanted, ghostShareMax: this.#ghostShareMax };
    return new ProbationCache(capacity, options, this.#onEvict);
  }

  #startMiniatures(capacity: number): void {
    const { settings, sampleEvery, miniaturePagesMin, memoryFillings } = this.#options;
    // With one setting there is nothing to find out.
    if (settings.length === 1) return;
    const every = Math.max(1, Math.min(sampleEvery, capacity / miniaturePagesMin));
    const pages = Math.max(MINIATURE_PAGES_FLOOR, Math.floor(capacity / every));
    this.#sampleBelow = TWO_32 / every;
    this.#fade = Math.exp(-1 / (memoryFillings * pages));
    this.#miniatures = settings.map(
      (s) => new ProbationCache(pages, { ...s, ghostShareMax: s.ghostShare }, nobody),
    );
    this.#hits.fill(0);
    this.#reads = 0;
  }

  access(key: number, hint: AdmissionHint = "interactive"): boolean {
    if (hashKey(key, SAMPLE_SALT) < this.#sampleBelow) this.#simulate(key, hint);
    this.#approach();
    return this.#cache.access(key, hint);
  }

  #simulate(key: number, hint: AdmissionHint): void {
    const hits = this.#hits;
    let best = this.#setting;
    for (let i = 0; i < this.#miniatures.length; i++) {
      const hit = this.#miniatures[i]!.access(key, hint) ? 1 : 0;
      hits[i] = hits[i]! * this.#fade + hit;
    }
    for (let i = 0; i < hits.length; i++) if (hits[i]! > hits[best]!) best = i;
    this.#reads = this.#reads * this.#fade + 1;
    if (hits[best]! - hits[this.#setting]! <= this.#options.lead * this.#reads) return;
    this.#setting = best;
    this.#cache.ghosts = Math.floor(this.#wanted.ghostShare * this.capacity);
  }

  /** One step towards the setting in force. */
  #approach(): void {
    const cache = this.#cache;
    const target = Math.max(1, this.#wanted.t1Share * cache.capacity);
    const { step } = this.#options;
    if (cache.t1Target < target) cache.t1Target = Math.min(target, cache.t1Target + step);
    else if (cache.t1Target > target) cache.t1Target = Math.max(target, cache.t1Target - step);
  }

  has(key: number): boolean {
    return this.#cache.has(key);
  }

  remove(key: number): void {
    this.#cache.remove(key);
    for (const miniature of this.#miniatures) miniature.remove(key);
  }

  evict(): boolean {
    return this.#cache.evict();
  }

  resize(capacity: number): void {
    const before = this.#cache;
    this.#cache = this.#newCache(capacity);
    this.#cache.inherit(before);
    this.#startMiniatures(capacity);
  }

  sizes(): PolicySizes {
    return { ...this.#cache.sizes(), b2: 0, t1Target: this.#cache.t1Target / this.capacity };
  }
}
