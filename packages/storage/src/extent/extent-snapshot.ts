/** An extent as it was: what readonly turns see (extent-image.ts, E6). */
import { PAGE_BYTES } from "./extent-pages.ts";

/** What open snapshots of an image keep, each. */
const SNAPSHOT_BYTES_MAX = 16 * 1024 * 1024;

/** Those of one image. */
export class OpenSnapshots {
  readonly #open = new Set<ExtentSnapshot>();

  add(lengthBytes: number): ExtentSnapshot {
    const snapshot = new ExtentSnapshot(lengthBytes);
    this.#open.add(snapshot);
    return snapshot;
  }

  remove(snapshot: ExtentSnapshot): void {
    this.#open.delete(snapshot);
  }

  get isEmpty(): boolean {
    return this.#open.size === 0;
  }

  /** A page is about to change. @param bytes it as it is; kept */
  keep(page: number, bytes: Uint8Array | undefined): void {
    for (const snapshot of this.#open) snapshot.keep(page, bytes);
  }

  /** Pages from here on are about to be cut off. */
  cut(page: number): void {
    for (const snapshot of this.#open) snapshot.lostFrom = Math.min(snapshot.lostFrom, page);
  }
}

/** An extent as a readonly turn sees it: pages that were changed since, as they were. */
export class ExtentSnapshot {
  readonly lengthBytes: number;
  /** Undefined: the page was changed and could not be kept. */
  readonly pages = new Map<number, Uint8Array | undefined>();
  /** From here on everything was cut off and not kept. */
  lostFrom = Infinity;

  constructor(lengthBytes: number) {
    this.lengthBytes = lengthBytes;
  }

  get isCurrent(): boolean {
    return this.pages.size === 0 && this.lostFrom === Infinity;
  }

  keep(page: number, bytes: Uint8Array | undefined): void {
    if (page >= this.lostFrom || page * PAGE_BYTES >= this.lengthBytes || this.pages.has(page))
      return;
    const hasRoom = this.pages.size * PAGE_BYTES < SNAPSHOT_BYTES_MAX;
    this.pages.set(page, hasRoom ? bytes : undefined);
  }
}
