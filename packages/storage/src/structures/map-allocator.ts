/**
 * Which pages of an extent are in use: one bit a page, so that neighbours that were given back are one run again and nothing
 * can be given back twice.
 *
 * Pages fall into groups of 32,768 (4,096 bytes × 8 bits; 128 MiB). Page 0 is the header, page 1 the bitmap of the first group; the
 * bitmap of every other group is the group's first page. Bit b of a bitmap (bit b mod 8 of byte b / 8) is set while the group's page b is in
 * use; the header and the bitmaps are. Bits of pages that there are not are clear.
 *
 * A1 free pages are used before the extent grows, but for runs when none is found in 4 bitmaps.
 * A2 free pages at the end are cut off.
 */
import { PinionError } from "@pinion/core";
import { damagedNode, PAGE_BYTES, type Bytes } from "./map-node.ts";
import type { PageStore } from "./map-pages.ts";

export const GROUP_PAGES = PAGE_BYTES * 8;
/** 128 MiB less the bitmap. */
export const RUN_PAGES_MAX = GROUP_PAGES - 1;
const GROUPS_SEARCHED_MAX = 4;
const PAGES_MAX = 2 ** 32 - 1;

export const bitmapPage = (group: number): number => (group === 0 ? 1 : group * GROUP_PAGES);
export const groupOf = (page: number): number => Math.floor(page / GROUP_PAGES);

export function isSet(bitmap: Bytes, page: number): boolean {
  const bit = page % GROUP_PAGES;
  return ((bitmap[bit >>> 3] as number) & (1 << (bit & 7))) !== 0;
}

/** The header page and the first bitmap, for an extent of no bytes. */
export function initialize(store: PageStore): void {
  const header = store.touchHeader();
  header.pages = 2;
  header.firstFree = 2;
  const bitmap = store.replace(1).bytes;
  bitmap.fill(0);
  bitmap[0] = 0b11;
}

/** @returns the first of `count` pages in a row @throws `corruption`, `invalid-argument` for more than 128 MiB */
export function allocatePages(store: PageStore, count = 1): number {
  if (count > RUN_PAGES_MAX)
    throw new PinionError(
      "invalid-argument",
      `${count} pages in one piece; ${RUN_PAGES_MAX} at most`,
    );
  if (store.header.pages === 0) initialize(store);
  const header = store.touchHeader();
  if (header.freePages >= count) {
    const found = findFree(store, count);
    if (found !== 0) {
      mark(store, found, count, true);
      header.freePages -= count;
      if (header.firstFree === found) header.firstFree = found + count;
      return found;
    }
  }
  return extend(store, count);
}

/** 0: none. Moves `firstFree` to the first free page. */
function findFree(store: PageStore, count: number): number {
  const { header } = store;
  const first = groupOf(header.firstFree);
  let seen = 0;
  let free = 0;
  for (let group = first; group * GROUP_PAGES < header.pages; group++) {
    if (count > 1 && group - first >= GROUPS_SEARCHED_MAX) {
      if (seen === 0) header.firstFree = group * GROUP_PAGES;
      return 0;
    }
    const bitmap = store.page(bitmapPage(group));
    const base = group * GROUP_PAGES;
    const end = Math.min(GROUP_PAGES, header.pages - base);
    let run = 0;
    for (let bit = group === first ? header.firstFree - base : 0; bit < end; bit++) {
      const byte = bitmap[bit >>> 3] as number;
      if (byte === 0xff) {
        run = 0;
        bit |= 7; // the whole byte is in use
        continue;
      }
      if ((byte & (1 << (bit & 7))) !== 0) {
        run = 0;
        continue;
      }
      if (seen === 0) header.firstFree = seen = base + bit;
      if (run === 0) free = base + bit;
      run++;
      if (run === count) return free;
    }
  }
  if (count === 1 || seen === 0)
    throw damagedNode(0, `${header.freePages} free pages, but the bitmaps have none`);
  return 0;
}

function extend(store: PageStore, count: number): number {
  const header = store.touchHeader();
  let first = header.pages;
  const groupEnd = (groupOf(first) + 1) * GROUP_PAGES;
  if (first % GROUP_PAGES !== 0 && first + count > groupEnd) {
    header.freePages += groupEnd - first; // their bits are clear
    header.firstFree = Math.min(header.firstFree, first);
    first = groupEnd;
  }
  if (first % GROUP_PAGES === 0) {
    header.pages = first + 1;
    const bitmap = store.replace(first).bytes;
    bitmap.fill(0);
    bitmap[0] = 1;
    first++;
  }
  if (first + count > PAGES_MAX)
    throw new PinionError("invalid-argument", `an extent of more than ${PAGES_MAX} pages`);
  header.pages = first + count;
  mark(store, first, count, true);
  if (header.firstFree === first) header.firstFree = first + count;
  return first;
}

/** Gives pages back. @throws `corruption` for pages that are not in use */
export function releasePages(store: PageStore, first: number, count = 1): void {
  const header = store.touchHeader();
  if (first < 2 || count > RUN_PAGES_MAX || first + count > header.pages)
    throw damagedNode(first, `${count} pages are given back, ${header.pages} there are`);
  mark(store, first, count, false);
  for (let i = 0; i < count; i++) store.forget(first + i);
  header.freePages += count;
  header.firstFree = Math.min(header.firstFree, first);
  if (first + count === header.pages) cutEnd(store);
}

function mark(store: PageStore, first: number, count: number, inUse: boolean): void {
  const group = groupOf(first);
  const bitmap = store.change(bitmapPage(group));
  const { bytes } = bitmap;
  if (first === bitmapPage(group) || groupOf(first + count - 1) !== group)
    throw damagedNode(first, `a run of ${count} pages covers a bitmap`);
  for (let i = 0; i < count; i++) {
    if (isSet(bytes, first + i) === inUse)
      throw damagedNode(first + i, `the page is ${inUse ? "in use" : "free"} already`);
    const bit = (first + i) % GROUP_PAGES;
    bytes[bit >>> 3] = (bytes[bit >>> 3] as number) ^ (1 << (bit & 7));
  }
  const from = (first % GROUP_PAGES) >>> 3;
  bitmap.touch(from, (((first + count - 1) % GROUP_PAGES) >>> 3) + 1);
}

/** A2. */
function cutEnd(store: PageStore): void {
  const header = store.touchHeader();
  while (header.pages > 2) {
    const last = header.pages - 1;
    const group = groupOf(last);
    if (last === bitmapPage(group)) {
      store.forget(last); // nothing but itself is left of the group
    } else {
      if (isSet(store.page(bitmapPage(group)), last)) break;
      if (header.freePages === 0) throw damagedNode(last, "more pages are free than counted");
      header.freePages--;
    }
    header.pages = last;
  }
  header.firstFree = Math.min(header.firstFree, header.pages);
}
