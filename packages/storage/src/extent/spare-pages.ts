/**
 * Memory for pages that is used again: of turns that change one page, and of pages that are copied for a checkpoint. The first touch of fresh
 * memory costs far more than filling it (docs/decisions/0027), and buffers make the garbage collector run.
 *
 * P1 a page that is given back is nobody else's any more.
 * P2 at most `SPARE_PAGES_MAX` are kept in a thread.
 */
import { PAGE_BYTES } from "./extent-pages.ts";

/** 16 MiB. */
const SPARE_PAGES_MAX = 4_096;
const spares: Uint8Array[] = [];

/** 4,096 bytes to be filled; undefined: there are none. */
export const takeSparePage = (): Uint8Array | undefined => spares.pop();

/** Pages that are a part of something larger are left to the garbage collector. */
export function sparePage(page: Uint8Array): void {
  if (page.buffer.byteLength === PAGE_BYTES && spares.length < SPARE_PAGES_MAX) spares.push(page);
}

/** A page that is the caller's own. */
export function copyOfPage(bytes: Uint8Array): Uint8Array {
  const page = spares.pop();
  if (page === undefined) return Uint8Array.prototype.slice.call(bytes);
  page.set(bytes);
  return page;
}
