/** Pages of an extent: their arithmetic, and bringing stored ones into memory. */
import type { ExtentPages } from "../state/state-store.ts";

export const PAGE_BYTES = 4096;
export const ZERO_PAGE: Uint8Array = new Uint8Array(PAGE_BYTES);

export const pageOf = (offset: number): number => Math.floor(offset / PAGE_BYTES);
export const pagesOf = (lengthBytes: number): number => Math.ceil(lengthBytes / PAGE_BYTES);

/** Brings stored pages into memory; those that were never written are zeros there already. */
export type FillPages = (into: Uint8Array, stored: ExtentPages, pageCount: number) => Promise<void>;

const LOADS_AT_ONCE = 16;

/** Page by page: where there is no native door. */
export const fillByPage: FillPages = (into, stored, pageCount) =>
  fillPages(
    into,
    stored,
    Array.from({ length: pageCount }, (_, page) => page),
  );

/** Some pages, each to its place. */
export async function fillPages(
  into: Uint8Array,
  stored: ExtentPages,
  pages: readonly number[],
): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < pages.length) {
      const page = pages[next++] as number;
      try {
        const bytes = await stored.read(page);
        if (bytes !== undefined && into.length > 0) into.set(bytes, page * PAGE_BYTES);
      } catch (e) {
        next = pages.length;
        throw e;
      }
    }
  };
  // All of them have ended before the memory may go.
  const ended = await Promise.allSettled(
    Array.from({ length: Math.min(LOADS_AT_ONCE, pages.length) }, work),
  );
  for (const result of ended) if (result.status === "rejected") throw result.reason;
}
