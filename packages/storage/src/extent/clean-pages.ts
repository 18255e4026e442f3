/** Stored pages of an extent that is not resident, as last read: the ones not used for longest go first. */

/** That are kept. */
export const CLEAN_PAGES_MAX = 64;

export class CleanPages {
  readonly #pages = new Map<number, Uint8Array>();

  get size(): number {
    return this.#pages.size;
  }

  get(page: number): Uint8Array | undefined {
    const bytes = this.#pages.get(page);
    if (bytes === undefined) return undefined;
    this.#pages.delete(page);
    this.#pages.set(page, bytes);
    return bytes;
  }

  /** @param never a page that stays */
  keep(page: number, bytes: Uint8Array, never: number): void {
    this.#pages.set(page, bytes);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= CLEAN_PAGES_MAX) return;
      if (oldest !== never) this.#pages.delete(oldest);
    }
  }

  delete(page: number): void {
    this.#pages.delete(page);
  }

  cut(cutPage: number): void {
    for (const page of this.#pages.keys()) if (page >= cutPage) this.#pages.delete(page);
  }

  clear(): void {
    this.#pages.clear();
  }
}
