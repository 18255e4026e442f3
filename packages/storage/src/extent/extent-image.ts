/**
 * One extent of an activation as its committed turns left it: in memory as a whole (resident), or on disk with what has changed since the last
 * checkpoint in memory.
 *
 * State: the length, the dirty pages, and while a checkpoint is written the frozen ones. Dirty pages of a resident extent are in its memory; of
 * others each is a page of its own that never changes, a change makes a new one.
 *
 * E1 bytes behind the end are zeros, in memory, in dirty pages and in what a checkpoint writes.
 * E2 a checkpoint gets every frozen page as it was at the freeze: what a turn changes in a resident frozen page that was not captured yet is copied
 *    first (storage.md S1).
 * E3 a failed checkpoint makes its pages dirty again; nothing is lost.
 * E4 the last page of an extent that is not resident stays in memory, so that appending never waits.
 * E5 stored pages from `#cutPage` on are from before a cut: they read as zeros.
 * E6 a snapshot reads as the extent was when it was taken, or says that it cannot any more: what is about to change is first kept for it, up to
 *    `SNAPSHOT_BYTES_MAX`.
 */
import { assert, PinionError } from "@pinion/core";
import type { ExtentChange, ExtentPages } from "../state/state-store.ts";
import type { DeltaRange } from "./extent-delta.ts";
import { encodeFacts, NO_FACTS, type ExtentFacts } from "./extent-facts.ts";
import type { ExtentMemory } from "./extent-memory.ts";
import { PAGE_BYTES, pageOf, pagesOf, ZERO_PAGE, type FillPages } from "./extent-pages.ts";
import { OpenSnapshots, type ExtentSnapshot } from "./extent-snapshot.ts";
import { ChangedPages, COPIED_AT_ONCE } from "./changed-pages.ts";
import { ExtentLoading } from "./extent-loading.ts";
import { ExtentUsage } from "./extent-usage.ts";
import { capacityFor, ExtentGrowth } from "./growth.ts";
import { References } from "./references.ts";
import { FrozenPages } from "./frozen-pages.ts";
import { copyOfPage } from "./spare-pages.ts";
import { CLEAN_PAGES_MAX, CleanPages } from "./clean-pages.ts";
import { NOTHING_UNWRITTEN, type UnwrittenPages } from "./unwritten-pages.ts";

export interface ExtentIdentity {
  readonly name: string;
  readonly kind: string;
  readonly version: number;
}

export class ExtentImage {
  readonly identity: ExtentIdentity;
  #stored: ExtentPages | undefined;
  #length: number;
  #memory: ExtentMemory | undefined;
  #dirty = new ChangedPages();
  #frozen: FrozenPages | undefined;
  readonly #unwritten: UnwrittenPages | undefined;
  #reported = NOTHING_UNWRITTEN;
  readonly #checkpointed: (() => void)[] = [];
  #cutPage = Infinity;
  /** Something besides pages has changed: the length, or the facts. */
  #changed = false;
  readonly #clean = new CleanPages();
  #loading: ExtentLoading | undefined;
  #gone = false;
  #facts: ExtentFacts;
  /** Turns that may look at its memory. */
  readonly references = new References();
  readonly usage = new ExtentUsage();
  readonly growth: ExtentGrowth;
  readonly #snapshots = new OpenSnapshots();
  /** Grows with every change: what was read before it may be old. */
  #epoch = 0;
  /** Grows when stored pages may be others, or no longer count. */
  #storedEpoch = 0;

  /**
   * @param stored its pages on disk; undefined for a new extent. The image's from now on.
   * @param unwritten told of what waits for a checkpoint
   * @param facts as stored
   */
  constructor(
    identity: ExtentIdentity,
    lengthBytes: number,
    stored: ExtentPages | undefined,
    unwritten?: UnwrittenPages,
    facts: ExtentFacts = NO_FACTS,
  ) {
    const { name, kind, version } = identity;
    this.identity = { name, kind, version };
    this.#facts = facts;
    this.growth = new ExtentGrowth(identity.kind, this.usage);
    this.#unwritten = unwritten;
    this.#length = lengthBytes;
    this.#stored = stored;
  }

  get lengthBytes(): number {
    return this.#length;
  }

  /** Another object after each change. */
  get facts(): ExtentFacts {
    return this.#facts;
  }

  /** Of a turn that has committed, or from the log. */
  setFacts(facts: ExtentFacts): void {
    this.#facts = facts;
    this.#changed = true;
  }

  get resident(): boolean {
    return this.#memory !== undefined;
  }

  /** Nothing of it waits for a checkpoint. */
  get isClean(): boolean {
    return this.#dirty.size === 0 && !this.#changed && this.#frozen === undefined;
  }

  get dirtyPages(): number {
    return this.#dirty.size;
  }

  /** Memory it holds, in bytes. */
  get memoryBytes(): number {
    if (this.#memory !== undefined) return this.#memory.bytes.length;
    return (this.#dirty.size + this.#clean.size + (this.#frozen?.pages.size ?? 0)) * PAGE_BYTES;
  }

  // ---------------------------------------------------------------- reading

  /** The memory of a resident extent, up to its capacity. Replaced when it grows. */
  get memory(): Uint8Array | undefined {
    return this.#memory?.bytes;
  }

  /** For who put it there. */
  get heldMemory(): ExtentMemory | undefined {
    return this.#memory;
  }

  /** 4,096 bytes that must not be changed, if they are in memory. */
  peekPage(page: number): Uint8Array | undefined {
    if (this.#memory !== undefined) {
      const end = (page + 1) * PAGE_BYTES;
      return end <= this.#memory.bytes.length
        ? this.#memory.bytes.subarray(page * PAGE_BYTES, end)
        : ZERO_PAGE;
    }
    const changed = this.#dirty.get(page) ?? this.#frozenPage(page);
    if (changed !== undefined) return changed;
    if (page >= pagesOf(this.#length) || this.#isCut(page) || this.#stored === undefined)
      return ZERO_PAGE;
    return this.#clean.get(page) ?? this.#peekStored(page);
  }

  #peekStored(page: number): Uint8Array | undefined {
    const bytes = this.#stored?.peek(page);
    if (bytes !== undefined) this.#keep(page, bytes);
    return bytes;
  }

  /** As `peekPage`, and waits where it must. @throws `corruption`, `io-error` */
  async readPage(page: number): Promise<Uint8Array> {
    for (;;) {
      const known = this.peekPage(page);
      if (known !== undefined) return known;
      const epoch = this.#storedEpoch;
      const bytes = (await this.#stored?.read(page)) ?? ZERO_PAGE;
      if (this.#storedEpoch !== epoch || this.#dirty.has(page) || this.#frozen?.pages.has(page))
        continue;
      this.#keep(page, bytes);
      return bytes;
    }
  }

  /** Brings pages in behind the reader's back; what fails shows when it is read. At most what is kept anyway. */
  prefetch(from: number, to: number): void {
    for (let page = from; page < Math.min(to, from + CLEAN_PAGES_MAX / 2); page++)
      if (this.peekPage(page) === undefined) this.readPage(page).catch(() => {});
  }

  #frozenPage(page: number): Uint8Array | undefined {
    const frozen = this.#frozen;
    return frozen !== undefined && page < this.#cutPage ? frozen.pages.get(page) : undefined;
  }

  #isCut(page: number): boolean {
    return page >= Math.min(this.#cutPage, this.#frozen?.cutPage ?? Infinity);
  }

  #keep(page: number, bytes: Uint8Array): void {
    this.#clean.keep(page, bytes, pagesOf(this.#length) - 1); // E4
  }

  /** Ends with `closeSnapshot`. */
  snapshot(): ExtentSnapshot {
    return this.#snapshots.add(this.#length);
  }

  closeSnapshot(snapshot: ExtentSnapshot): void {
    this.#snapshots.remove(snapshot);
  }

  /** Grows with every change of the extent. */
  get epoch(): number {
    return this.#epoch;
  }

  // ---------------------------------------------------------------- loading

  /** Brings in what appending needs (E4). */
  async open(): Promise<void> {
    if (this.#length % PAGE_BYTES !== 0 && !this.resident)
      await this.readPage(pageOf(this.#length));
  }

  /**
   * Makes the extent resident. Turns and checkpoints go on meanwhile; what they do is put over what was loaded at the end.
   * @param memory becomes the image's, unless this rejects or answers false
   * @param fill brings the stored pages `0 … count − 1` into `memory`, holes as zeros
   * @returns false when the extent has outgrown `memory` meanwhile, or was let go
   * @throws what `fill` throws
   */
  async load(memory: ExtentMemory, fill: FillPages): Promise<boolean> {
    assert(this.#memory === undefined && this.#loading === undefined, "an extent is loaded twice");
    const pages = pagesOf(Math.min(this.#length, memory.bytes.length));
    const loading = new ExtentLoading(memory.bytes, pages);
    this.#loading = loading;
    try {
      if (this.#stored !== undefined && pages > 0) await fill(memory.bytes, this.#stored, pages);
    } catch (error) {
      // Its pages were closed under the load: that is no damage.
      if (this.#gone) return false;
      throw error;
    } finally {
      this.#loading = undefined;
    }
    const { bytes } = memory;
    if (this.#length > bytes.length || this.#gone) return false;
    loading.putWritten();
    if (this.#frozen !== undefined) loading.put(this.#frozen.cutPage, this.#frozen.pages);
    loading.put(this.#cutPage, this.#dirty);
    bytes.fill(0, this.#length, pagesOf(this.#length) * PAGE_BYTES);
    this.#dirty.forgetCopies();
    this.#memory = memory;
    this.#clean.clear();
    this.#epoch++;
    this.#storedEpoch++;
    this.#report();
    return true;
  }

  /**
   * As `demote`, in steps: much that is changed is written by a checkpoint first, what is left is copied a little at a time. Turns go on meanwhile.
   * @param breathe lets the event loop go on
   * @param atOnce pages copied between two breaths; less only in tests
   */
  async retire(
    breathe: () => Promise<void>,
    atOnce = COPIED_AT_ONCE,
  ): Promise<ExtentMemory | undefined> {
    if (this.#unwritten !== undefined && this.#uncopied > atOnce) {
      this.#unwritten.wantCheckpoint();
      await new Promise<void>((resolve) => this.#checkpointed.push(resolve));
    }
    // A turn may change again what was copied; what changes faster than this is copied at the end.
    for (let rounds = 0; rounds < 3 && this.#uncopied > atOnce; rounds++)
      await this.#copyOut(breathe, atOnce);
    return this.demote();
  }

  /** Changed pages that are in memory only. */
  get #uncopied(): number {
    if (this.#memory === undefined) return 0;
    const frozen = this.#frozen?.pages;
    return this.#dirty.size - this.#dirty.copies + (frozen ? frozen.size - frozen.copies : 0);
  }

  async #copyOut(breathe: () => Promise<void>, atOnce: number): Promise<void> {
    for (const pages of [this.#frozen?.pages, this.#dirty]) {
      await pages?.copyOut(
        (page) => this.#copyOf(page),
        async () => {
          this.#report();
          await breathe();
          // A checkpoint may have taken what was dirty, or be done with what was frozen.
          const isCurrent = pages === this.#dirty || pages === this.#frozen?.pages;
          return isCurrent && this.#memory !== undefined;
        },
        atOnce,
      );
      if (this.#memory === undefined) return;
    }
  }

  /** What is changed in it stays, in pages of its own. @returns the memory, which turns under way may still look at; undefined when it was not resident */
  demote(): ExtentMemory | undefined {
    const memory = this.#memory;
    if (memory === undefined) return undefined;
    const frozen = this.#frozen;
    frozen?.pages.copyAll((page) => this.#copyOf(page));
    if (frozen !== undefined) frozen.isOwn = false; // readers look at them now
    this.#dirty.copyAll((page) => this.#copyOf(page));
    const tail = this.#tail()?.slice();
    this.#memory = undefined;
    this.#epoch++;
    this.#storedEpoch++;
    this.#keepTail(tail);
    this.#report();
    return memory;
  }

  #report(): void {
    const unwritten = this.#unwritten;
    if (unwritten === undefined || this.#gone) return;
    const pages = this.#frozen?.pages;
    const before = this.#reported;
    const dirty = this.#dirty.size;
    const frozen = pages?.size ?? 0;
    const copied = this.#dirty.copies + (pages?.copies ?? 0);
    if (dirty === before.dirty && frozen === before.frozen && copied === before.copied) return;
    this.#reported = { dirty, frozen, copied };
    unwritten.changed(before, this.#reported);
  }

  /** Lets its memory go. @throws `internal` while something waits for a checkpoint */
  release(): void {
    assert(this.isClean, "an extent is let go that a checkpoint has to write");
    this.abandon();
  }

  /** As `release`, whatever waits: the worker is gone and the log has everything. */
  abandon(): void {
    const memory = this.#memory;
    if (this.#frozen !== undefined) this.#frozen.isOwn = false; // its memory may go before a checkpoint has them
    this.#gone = true;
    this.#memory = undefined;
    if (memory !== undefined) void this.references.whenNone().then(() => memory.release());
    this.#clean.clear();
    this.#stored?.close();
    this.#unwritten?.changed(this.#reported, NOTHING_UNWRITTEN);
    this.#reported = NOTHING_UNWRITTEN;
    for (const resolve of this.#checkpointed.splice(0)) resolve();
  }

  // ---------------------------------------------------------------- changing

  /**
   * Makes a turn's changes the extent's present. Synchronous: between a commit record and this nothing may run.
   * @param pageAfter the page as the turn leaves it; asked for where the extent is not resident
   */
  apply(
    minLengthBytes: number,
    lengthBytes: number,
    ranges: readonly DeltaRange[],
    pageAfter: (page: number) => Uint8Array,
  ): void {
    this.#epoch++;
    if (this.#memory !== undefined && lengthBytes > this.#memory.bytes.length)
      this.#grow(lengthBytes);
    const cut = minLengthBytes < this.#length;
    if (cut) this.#cut(minLengthBytes, pageAfter);
    if (lengthBytes !== this.#length || cut) this.#changed = true;
    if (lengthBytes > this.#length) this.#memory?.grown?.(lengthBytes);
    this.#length = lengthBytes;
    for (const { offset, byteCount, parts } of ranges) {
      if (byteCount === 0) continue;
      const last = pageOf(offset + byteCount - 1);
      for (let page = pageOf(offset); page <= last; page++) this.#touch(page, pageAfter);
      let at = offset;
      for (const part of parts) {
        this.#memory?.bytes.set(part, at);
        at += part.length;
      }
    }
    // The page that was last before is in memory (E4); another that is not was behind the end.
    this.#keepTail(ZERO_PAGE);
    this.#report();
  }

  /** The last page, if a part of it is behind the end. */
  #tail(): Uint8Array | undefined {
    return this.#length % PAGE_BYTES === 0 ? undefined : this.peekPage(pageOf(this.#length));
  }

  /** E4. @param bytes the last page, where it is in memory nowhere else */
  #keepTail(bytes: Uint8Array | undefined): void {
    if (bytes === undefined || this.#length % PAGE_BYTES === 0) return;
    const last = pageOf(this.#length);
    if (this.peekPage(last) === undefined) this.#keep(last, bytes);
  }

  /** The page is about to change: from now on it is dirty. */
  #touch(page: number, pageAfter: (page: number) => Uint8Array): void {
    if (!this.#snapshots.isEmpty)
      this.#snapshots.keep(
        page,
        this.#memory === undefined ? this.peekPage(page) : this.#copyOf(page),
      ); // E6
    if (this.#clean.size > 0) this.#clean.delete(page);
    if (this.#memory === undefined) {
      this.#dirty.set(page, pageAfter(page));
      return;
    }
    this.#preserve(page);
    this.#dirty.set(page, undefined);
  }

  /** E2. */
  #preserve(page: number): void {
    if (this.#memory !== undefined) this.#frozen?.preserve(page, (kept) => this.#copyOf(kept));
  }

  #copyOf(page: number): Uint8Array {
    // A checkpoint that is being written.
    if (this.#gone)
      throw new PinionError("cancelled", "an extent was let go of while it was written");
    const { bytes } = this.#memory as ExtentMemory;
    return copyOfPage(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES));
  }

  #cut(lengthBytes: number, pageAfter: (page: number) => Uint8Array): void {
    const cutPage = pagesOf(lengthBytes);
    this.#storedEpoch++;
    this.#snapshots.cut(cutPage);
    this.#cutPage = Math.min(this.#cutPage, cutPage);
    for (const page of this.#frozen?.pages.keys() ?? []) if (page >= cutPage) this.#preserve(page);
    this.#dirty.cut(cutPage);
    this.#clean.cut(cutPage);
    if (lengthBytes % PAGE_BYTES !== 0) this.#touch(pageOf(lengthBytes), pageAfter);
    this.#memory?.bytes.fill(0, lengthBytes, Math.min(this.#length, this.#memory.bytes.length));
  }

  /** To a larger piece of memory; where there is none, to pages of its own. */
  #grow(lengthBytes: number): void {
    const old = this.#memory as ExtentMemory;
    const larger = old.larger(capacityFor(lengthBytes, this.growth.bytes));
    if (larger === undefined) this.demote();
    else {
      larger.bytes.set(old.bytes.subarray(0, this.#length));
      this.#memory = larger;
    }
    // Views of this very turn end with it; others, of readonly turns that wait, may still look.
    void this.references.whenNone().then(() => old.release());
  }

  // ---------------------------------------------------------------- checkpoint

  /** Takes what is dirty as the content of the next checkpoint; undefined when nothing is. Ends with `frozenWritten` or `frozenFailed`. */
  freeze(): ExtentChange | undefined {
    assert(this.#frozen === undefined, "an extent is frozen twice");
    if (this.isClean) return undefined;
    const frozen = new FrozenPages(this.#dirty, this.#cutPage, this.#memory !== undefined);
    this.#frozen = frozen;
    this.#dirty = new ChangedPages();
    this.#cutPage = Infinity;
    this.#changed = false;
    this.#report();
    return {
      ...this.identity,
      lengthBytes: this.#length,
      facts: encodeFacts(this.#facts),
      pageCount: frozen.pages.size,
      ...(frozen.cutPage === Infinity ? {} : { pagesMax: frozen.cutPage }),
      pages: frozen.capture(
        (page) => this.#copyOf(page),
        () => this.resident,
      ),
    };
  }

  /** Its pages on disk are not known: it is new. `frozenWritten` needs them. */
  get isNew(): boolean {
    return this.#stored === undefined;
  }

  /** The checkpoint is durable, and stored pages are the new ones. @param stored of an extent that was new */
  frozenWritten(stored?: ExtentPages): void {
    if (this.#gone) return stored?.close();
    const frozen = this.#frozen;
    const tail = this.#tail();
    this.#frozen = undefined;
    this.#stored ??= stored;
    this.#report();
    for (const resolve of this.#checkpointed.splice(0)) resolve();
    this.#storedEpoch++;
    if (frozen === undefined || this.#memory !== undefined) return;
    this.#epoch++;
    this.#loading?.written(frozen.cutPage, frozen.pages);
    this.#keepTail(tail);
  }

  frozenFailed(): void {
    const frozen = this.#frozen;
    this.#frozen = undefined;
    if (frozen === undefined) return;
    for (const [page, bytes] of frozen.pages) {
      if (page >= this.#cutPage || this.#dirty.has(page)) continue;
      this.#dirty.set(page, this.#memory === undefined ? bytes : undefined);
    }
    this.#cutPage = Math.min(this.#cutPage, frozen.cutPage);
    this.#changed = true;
    this.#report();
    for (const resolve of this.#checkpointed.splice(0)) resolve();
  }
}
