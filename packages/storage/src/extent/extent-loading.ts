/** Memory that stored pages are brought into while turns and checkpoints go on: what is newer than what was read is put over it at the end. */
import type { ChangedPages } from "./changed-pages.ts";
import { PAGE_BYTES } from "./extent-pages.ts";

export class ExtentLoading {
  readonly #bytes: Uint8Array;
  /** Behind it there are zeros, and address space that nothing should touch. */
  #loadedBytes: number;
  /** What checkpoints have written meanwhile: newer than what may have been read. */
  #cutPage = Infinity;
  readonly #written = new Map<number, Uint8Array | undefined>();

  /** @param pages stored ones that are brought in */
  constructor(bytes: Uint8Array, pages: number) {
    this.#bytes = bytes;
    this.#loadedBytes = pages * PAGE_BYTES;
  }

  /** A checkpoint has written these. */
  written(cutPage: number, pages: ChangedPages): void {
    this.#cutPage = Math.min(this.#cutPage, cutPage);
    for (const page of this.#written.keys()) if (page >= cutPage) this.#written.delete(page);
    for (const [page, bytes] of pages) this.#written.set(page, bytes);
  }

  putWritten(): void {
    this.put(this.#cutPage, this.#written);
  }

  /** What was there from `cutPage` on is gone, `over` came after. */
  put(cutPage: number, over: ChangedPages | ReadonlyMap<number, Uint8Array | undefined>): void {
    const bytes = this.#bytes;
    const from = cutPage * PAGE_BYTES;
    if (from < this.#loadedBytes) bytes.fill(0, from, this.#loadedBytes);
    for (const [page, content] of over)
      if (content !== undefined && (page + 1) * PAGE_BYTES <= bytes.length)
        bytes.set(content, page * PAGE_BYTES);
    // What was put there may be cut by what comes after.
    for (const page of over.keys())
      this.#loadedBytes = Math.max(this.#loadedBytes, (page + 1) * PAGE_BYTES);
    this.#loadedBytes = Math.min(this.#loadedBytes, bytes.length);
  }
}
