/**
 * Pages in memory, up to a number. Which go first is decided by second chance (Corbató, "A Paging Experiment with the Multics System", 1968): about
 * as good as the least recently used, and a hit only sets a mark. Moving it to the end of a `Map` instead was the largest item in the profile of a checkpoint.
 */

interface Cached {
  readonly bytes: Uint8Array;
  /** Since it was passed over. */
  isUsed: boolean;
}

export class PageCache {
  readonly #pagesMax: number;
  /** In the order in which they are looked at. */
  readonly #pages = new Map<number, Cached>();

  constructor(pagesMax: number) {
    this.#pagesMax = pagesMax;
  }

  get size(): number {
    return this.#pages.size;
  }

  /** Without marking it as used. */
  has(page: number): boolean {
    return this.#pages.has(page);
  }

  get(page: number): Uint8Array | undefined {
    const cached = this.#pages.get(page);
    if (cached === undefined) return undefined;
    cached.isUsed = true;
    return cached.bytes;
  }

  keep(page: number, bytes: Uint8Array): void {
    this.#pages.set(page, { bytes, isUsed: false });
    while (this.#pages.size > this.#pagesMax) this.#evict();
  }

  delete(page: number): void {
    this.#pages.delete(page);
  }

  #evict(): void {
    for (const [page, cached] of this.#pages) {
      this.#pages.delete(page);
      if (!cached.isUsed) return;
      cached.isUsed = false;
      this.#pages.set(page, cached);
    }
  }
}
