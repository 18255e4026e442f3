/**
 * Pages of an extent that a checkpoint has to write: each as a page of its own (a copy), or as it is in the extent's memory.
 *
 * C1 `copies` is how many are pages of their own, at any time.
 */

/** Copied before the event loop may go on: 1 MiB. */
export const COPIED_AT_ONCE = 256;

export class ChangedPages {
  readonly #pages = new Map<number, Uint8Array | undefined>();
  #copies = 0;

  get size(): number {
    return this.#pages.size;
  }

  get copies(): number {
    return this.#copies;
  }

  has(page: number): boolean {
    return this.#pages.has(page);
  }

  /** Undefined also for a page that is in memory. */
  get(page: number): Uint8Array | undefined {
    return this.#pages.get(page);
  }

  /** @param bytes undefined: as it is in memory */
  set(page: number, bytes: Uint8Array | undefined): void {
    const before = this.#pages.get(page);
    this.#pages.set(page, bytes);
    this.#copies += Number(bytes !== undefined) - Number(before !== undefined);
  }

  keys(): IterableIterator<number> {
    return this.#pages.keys();
  }

  [Symbol.iterator](): IterableIterator<[page: number, bytes: Uint8Array | undefined]> {
    return this.#pages[Symbol.iterator]();
  }

  /** Without those from `cutPage` on. */
  cut(cutPage: number): void {
    for (const [page, bytes] of this.#pages) {
      if (page < cutPage) continue;
      if (bytes !== undefined) this.#copies--;
      this.#pages.delete(page);
    }
  }

  /** In order. A typed array sorts numbers without a comparator, and filled by hand it is made six times as fast as with `from`: 35 ms for 2 GiB. */
  inOrder(): Float64Array {
    const order = new Float64Array(this.#pages.size);
    let count = 0;
    for (const page of this.#pages.keys()) order[count++] = page;
    return order.sort();
  }

  /** All are as they are in memory. */
  forgetCopies(): void {
    for (const page of this.#pages.keys()) this.#pages.set(page, undefined);
    this.#copies = 0;
  }

  /** All are pages of their own. */
  copyAll(copyOf: (page: number) => Uint8Array): void {
    for (const [page, bytes] of this.#pages)
      if (bytes === undefined) this.#pages.set(page, copyOf(page));
    this.#copies = this.#pages.size;
  }

  /**
   * As `copyAll`, in steps; what changes meanwhile may be missed.
   * @param atOnce pages between two breaths
   * @param breathe resolves to false when there is nothing more to do
   */
  async copyOut(
    copyOf: (page: number) => Uint8Array,
    breathe: () => Promise<boolean>,
    atOnce: number,
  ): Promise<void> {
    let steps = 0;
    for (const [page, bytes] of this.#pages) {
      if (bytes === undefined) this.set(page, copyOf(page));
      if (++steps % atOnce === 0 && !(await breathe())) return;
    }
  }
}
