/**
 * Pages of an extent as they were at a freeze, until a checkpoint has them.
 *
 * F1 each is captured once, as it was at the freeze; before that it is copied when it is about to change (extent-image.ts, E2).
 * F2 what is captured may change.
 */
import type { ChangedPages } from "./changed-pages.ts";
import { sparePage } from "./spare-pages.ts";

export class FrozenPages {
  /** In memory: as it was (F1), or captured. */
  readonly pages: ChangedPages;
  /** Stored pages from here on were cut off before. */
  readonly cutPage: number;
  /** Pages of their own are copies that nobody has been given. */
  isOwn: boolean;
  readonly #captured = new Set<number>();

  /** @param isOwn of the copies among `pages` */
  constructor(pages: ChangedPages, cutPage: number, isOwn: boolean) {
    this.pages = pages;
    this.cutPage = cutPage;
    this.isOwn = isOwn;
  }

  /** A page in memory is about to change. */
  preserve(page: number, copyOf: (page: number) => Uint8Array): void {
    if (!this.pages.has(page) || this.pages.get(page) !== undefined) return;
    if (!this.#captured.has(page)) this.pages.set(page, copyOf(page));
  }

  /** For the checkpoint, in order; bytes are good until the next is asked for. @param copyOf of a page in memory */
  async *capture(
    copyOf: (page: number) => Uint8Array,
    isInMemory: () => boolean,
  ): AsyncGenerator<readonly [number, Uint8Array]> {
    for (const page of this.pages.inOrder()) {
      const bytes = this.pages.get(page) ?? copyOf(page);
      this.#captured.add(page);
      if (isInMemory()) this.pages.set(page, undefined);
      yield [page, bytes];
      if (this.isOwn) sparePage(bytes);
    }
  }
}
