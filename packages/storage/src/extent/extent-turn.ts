/**
 * An extent as one turn sees and changes it: the committed bytes under an overlay of shadow pages (storage.md, "Turn").
 *
 * State: what the turn has written (turn-overlay.ts), the length.
 *
 * W1 nothing of it is in the image before `commit`, and a turn that ends otherwise leaves no trace.
 * W2 what one turn writes of all extents together is bounded by `WRITE_SET_BYTES_MAX`.
 * W3 a readonly turn reads as of its beginning, whatever is committed while it waits; what cannot be had as it was throws `view-expired`.
 * W4 after `end` every use throws `view-expired`.
 * W5 facts follow the same rules as bytes: W1, W3 and W4.
 */
import { PinionError } from "@pinion/core";
import { copyOf } from "./copies.ts";
import type { ExtentDelta } from "./extent-delta.ts";
import type { ExtentAccess } from "./extent-access.ts";
import { encodeFacts, type ExtentFacts } from "./extent-facts.ts";
import type { ExtentImage } from "./extent-image.ts";
import { PAGE_BYTES, pageOf, pagesOf, ZERO_PAGE } from "./extent-pages.ts";
import type { ExtentSnapshot } from "./extent-snapshot.ts";
import { Access, AccessStreams } from "./extent-usage.ts";
import { growthTooLarge } from "./growth.ts";
import type { Lookers } from "./references.ts";
import { TurnOverlay } from "./turn-overlay.ts";
import { WRITE_SET_BYTES_MAX, type WriteBudget } from "./write-budget.ts";

/** Pages of one read that are asked for together: 1 MiB. */
const READ_AT_ONCE = 256;
/** Pages that are brought in ahead of one who reads in order, and of a scan. */
const AHEAD_PAGES = 8;
const AHEAD_PAGES_SCAN = 32;

export class ExtentTurn implements ExtentAccess {
  readonly readonly: boolean;
  readonly image: ExtentImage;
  readonly #budget: WriteBudget;
  readonly #overlay: TurnOverlay;
  readonly #looks: Lookers;
  #length: number;
  #minLength: number;
  #generation = 0;
  /** When it was last committed: who looked before must see that it has changed since. */
  #committedGeneration = 0;
  #ended = false;
  #sealed = false;
  #waits = 0;
  #holds = 0;
  #waitsBegun = 0;
  readonly #snapshot: ExtentSnapshot | undefined;
  #facts: ExtentFacts;
  #factsChanged = false;
  /** From the first access on: most turns of an actor use few of its extents. */
  #streams: AccessStreams | undefined;
  /** Told of the first access. */
  readonly #begun: (() => void) | undefined;
  /** Length when nothing of the turn was in it. */
  #lengthBefore: number;
  /** Pages up to here were brought in ahead. */
  #aheadTo = 0;

  constructor(image: ExtentImage, readonly: boolean, budget: WriteBudget, begun?: () => void) {
    this.image = image;
    this.#begun = begun;
    this.#facts = image.facts;
    this.#snapshot = readonly ? image.snapshot() : undefined;
    this.#looks = image.references.add();
    this.readonly = readonly;
    this.#budget = budget;
    this.#overlay = new TurnOverlay(budget);
    this.#length = this.#minLength = this.#lengthBefore = image.lengthBytes;
  }

  get lengthBytes(): number {
    return this.#length;
  }

  get resident(): boolean {
    return this.image.resident;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Of a readonly turn, it grows with what others commit: a view into memory shows that. */
  get generation(): number {
    return this.readonly ? this.image.epoch : this.#generation;
  }

  get changed(): boolean {
    return this.#generation > this.#committedGeneration || this.#factsChanged;
  }

  /** What it has read and written; undefined: nothing yet. */
  get accesses(): AccessStreams | undefined {
    return this.#streams;
  }

  get facts(): ExtentFacts {
    this.#alive();
    return this.#facts;
  }

  get factsChanged(): boolean {
    return this.#factsChanged;
  }

  /** @throws `readonly-violation` */
  setFacts(facts: ExtentFacts): void {
    this.#writable();
    if (facts === this.#facts) return;
    this.#facts = facts;
    this.#factsChanged = true;
  }

  // ---------------------------------------------------------------- reading

  peek(offset: number, byteCount: number): Uint8Array | undefined {
    this.#check(offset, byteCount);
    const bytes = this.#peek(offset, byteCount);
    if (bytes !== undefined) this.#noteRead(offset, byteCount);
    return bytes;
  }

  #noteRead(offset: number, byteCount: number): void {
    const image = this.image;
    const kind = (this.#streams ?? this.#use()).read(offset, byteCount);
    if (kind === Access.random || image.resident) return;
    const depth = kind === Access.scan ? AHEAD_PAGES_SCAN : AHEAD_PAGES;
    const page = pagesOf(offset + byteCount);
    const isAhead = page <= this.#aheadTo && page + depth >= this.#aheadTo;
    // Half of it is still to come.
    if (isAhead && page + depth / 2 < this.#aheadTo) return;
    image.prefetch(isAhead ? this.#aheadTo : page, page + depth);
    this.#aheadTo = page + depth;
  }

  #noteWrite(): void {
    (this.#streams ?? this.#use()).write++;
  }

  #use(): AccessStreams {
    this.#begun?.();
    return (this.#streams = new AccessStreams());
  }

  #peek(offset: number, byteCount: number): Uint8Array | undefined {
    const { memory } = this.image;
    const end = offset + byteCount;
    if (memory !== undefined && end <= memory.length && !this.#overlaps(offset, end))
      return memory.subarray(offset, end);
    const first = pageOf(offset);
    if (end <= (first + 1) * PAGE_BYTES) {
      this.#overlay.isShown = true;
      const at = offset - first * PAGE_BYTES;
      return this.#page(first)?.subarray(at, at + byteCount);
    }
    const bytes = new Uint8Array(byteCount);
    for (let page = first; page * PAGE_BYTES < end; page++) {
      const content = this.#page(page);
      if (content === undefined) return undefined;
      copyPart(page, content, offset, bytes);
    }
    return bytes;
  }

  async read(offset: number, byteCount: number): Promise<Uint8Array> {
    this.#check(offset, byteCount);
    if (this.image.resident) {
      const here = this.peek(offset, byteCount) as Uint8Array;
      // The moment that a readonly turn sees stays; memory does not.
      return this.readonly ? copyOf(here) : here;
    }
    const reading = this.#wait(this.#readLater(offset, byteCount));
    // Behind it, so that what is read ahead does not come first.
    this.#noteRead(offset, byteCount);
    return reading;
  }

  /** Something was begun and has not ended: what it is part of is not whole. */
  get isWaiting(): boolean {
    return this.#waits > 0 || this.#holds > 0;
  }

  /** So far. */
  get waitsBegun(): number {
    return this.#waitsBegun;
  }

  hold(): () => void {
    this.#writable();
    this.#holds++;
    return () => this.#holds--;
  }

  waitFor<T>(work: Promise<T>): Promise<T> {
    this.#alive();
    return this.#wait(this.#thenAlive(work));
  }

  async #thenAlive<T>(work: Promise<T>): Promise<T> {
    const result = await work;
    this.#alive();
    return result;
  }

  #wait<T>(work: Promise<T>): Promise<T> {
    this.#waits++;
    this.#waitsBegun++;
    return work.finally(() => this.#waits--);
  }

  async #readLater(offset: number, byteCount: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(byteCount);
    const coming: Promise<void>[] = [];
    for (let page = pageOf(offset); page * PAGE_BYTES < offset + byteCount; page++) {
      const known = this.#page(page);
      if (known !== undefined) copyPart(page, known, offset, bytes);
      // Side by side: what lies together on the disk is one read then.
      else coming.push(this.#bring(page, offset, bytes));
      if (coming.length === READ_AT_ONCE) await Promise.all(coming.splice(0));
    }
    await Promise.all(coming);
    this.#alive();
    return bytes;
  }

  /** Copies it at once: what was brought may be memory, which the next turn changes. */
  async #bring(page: number, offset: number, range: Uint8Array): Promise<void> {
    const bytes = await this.image.readPage(page);
    // It may have been changed while it was read.
    copyPart(page, this.#kept(page) ?? bytes, offset, range);
  }

  /** What the snapshot of a readonly turn has kept. @throws `view-expired` */
  #kept(page: number): Uint8Array | undefined {
    const snapshot = this.#snapshot;
    if (snapshot === undefined || snapshot.isCurrent) return undefined;
    const kept = snapshot.pages.get(page);
    if (kept !== undefined) return kept;
    if (!snapshot.pages.has(page) && page < snapshot.lostFrom) return undefined;
    throw new PinionError(
      "view-expired",
      `extent "${this.image.identity.name}" has changed too much since this readonly call began; call again`,
      { details: { extent: this.image.identity.name }, retry: "backoff" },
    );
  }

  prefetch(offset: number, byteCount: number): void {
    this.#check(offset, byteCount);
    if (!this.image.resident) this.image.prefetch(pageOf(offset), pagesOf(offset + byteCount));
  }

  /** A page as the turn sees it, if it is in memory. */
  #page(page: number): Uint8Array | undefined {
    const shadow = this.#overlay.get(page);
    if (shadow !== undefined) return shadow;
    if (page * PAGE_BYTES >= this.#minLength) return ZERO_PAGE;
    return this.#kept(page) ?? this.image.peekPage(page);
  }

  /** Whether the image is not what the turn sees there. */
  #overlaps(offset: number, end: number): boolean {
    if (end > this.#minLength || this.#snapshot?.isCurrent === false) return true;
    return this.#overlay.overlaps(pageOf(offset), pageOf(end - 1));
  }

  // ---------------------------------------------------------------- writing

  write(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    return this.#begin(offset, bytes, false);
  }

  give(offset: number, bytes: Uint8Array): Promise<void> | undefined {
    return this.#begin(offset, bytes, true);
  }

  #begin(offset: number, bytes: Uint8Array, isGiven: boolean): Promise<void> | undefined {
    this.#writable();
    if (!(Number.isSafeInteger(offset) && offset >= 0))
      throw new PinionError("invalid-argument", `a write at offset ${offset}`);
    if (bytes.length === 0) return undefined;
    this.#checkRoom(offset + bytes.length);
    this.#noteWrite();
    const { memory } = this.image;
    const isInMemory = memory !== undefined && offset + bytes.length <= this.#minLength;
    if (this.#generation === this.#committedGeneration && isInMemory) {
      if (this.#overlay.patch(offset, bytes, isGiven, memory)) {
        this.#generation++;
        return undefined;
      }
    }
    const missing = this.#missing(offset, offset + bytes.length);
    if (missing !== undefined) return this.#wait(this.#writeLater(offset, copyOf(bytes), missing));
    this.#write(offset, bytes);
    return undefined;
  }

  append(bytes: Uint8Array): number {
    this.#writable();
    const at = this.#length;
    if (bytes.length === 0) return at;
    this.#noteWrite();
    this.#write(at, bytes);
    return at;
  }

  resize(lengthBytes: number): Promise<void> | undefined {
    this.#writable();
    if (!(Number.isSafeInteger(lengthBytes) && lengthBytes >= 0))
      throw new PinionError("invalid-argument", `an extent of ${lengthBytes} bytes`);
    this.#checkRoom(lengthBytes);
    this.#noteWrite();
    if (lengthBytes >= this.#length) {
      this.#generation++;
      this.#length = lengthBytes;
      return undefined;
    }
    const page = pageOf(lengthBytes);
    if (lengthBytes % PAGE_BYTES !== 0 && this.#page(page) === undefined) {
      return this.#wait(this.#cutLater(lengthBytes, page));
    }
    this.#cut(lengthBytes);
    return undefined;
  }

  /** What a turn writes is bounded (W3); room that it does not write is by the extent's cap. @throws `write-set-too-large` */
  #checkRoom(lengthBytes: number): void {
    const more = lengthBytes - this.#lengthBefore;
    if (more <= WRITE_SET_BYTES_MAX) return;
    const { growth, identity } = this.image;
    if (more - WRITE_SET_BYTES_MAX > growth.bytes)
      throw this.#budget.refuse(growthTooLarge(identity, growth.bytes, more));
  }

  /** The first page that a write needs, and that is not in memory. */
  #missing(offset: number, end: number): number | undefined {
    // Only the first and the last page are changed in part.
    for (const page of [pageOf(offset), pageOf(end - 1)]) {
      const isWhole = page * PAGE_BYTES >= offset && (page + 1) * PAGE_BYTES <= end;
      if (!isWhole && this.#page(page) === undefined) return page;
    }
    return undefined;
  }

  async #writeLater(offset: number, bytes: Uint8Array, missing: number): Promise<void> {
    await this.image.readPage(missing);
    this.#writable();
    const next = this.#missing(offset, offset + bytes.length);
    if (next !== undefined) return this.#writeLater(offset, bytes, next);
    this.#write(offset, bytes);
  }

  #write(offset: number, bytes: Uint8Array): void {
    this.#overlay.write(offset, bytes, (page) => this.#page(page));
    this.#length = Math.max(this.#length, offset + bytes.length);
    this.#generation++;
  }

  async #cutLater(lengthBytes: number, page: number): Promise<void> {
    do {
      await this.image.readPage(page);
      this.#writable();
    } while (this.#page(page) === undefined);
    this.#cut(lengthBytes);
  }

  #cut(lengthBytes: number): void {
    this.#overlay.cut(lengthBytes, (page) => this.#page(page));
    this.#length = lengthBytes;
    this.#minLength = Math.min(this.#minLength, lengthBytes);
    this.#generation++;
  }

  // ---------------------------------------------------------------- the end

  /** What goes into the commit record; undefined when nothing was changed. Its bytes are the overlay's. */
  delta(): ExtentDelta | undefined {
    if (!this.changed) return undefined;
    const { name, kind, version } = this.image.identity;
    const facts = this.#factsChanged ? encodeFacts(this.#facts) : undefined;
    const lengthBytes = this.#length;
    const minLengthBytes = this.#minLength;
    const ranges = this.#overlay.ranges(lengthBytes);
    return { name, kind, version, lengthBytes, minLengthBytes, ranges, facts };
  }

  /** Makes the changes the image's present and goes on without any. @param delta what `delta` has given */
  commit(delta: ExtentDelta): void {
    this.image.apply(
      delta.minLengthBytes,
      delta.lengthBytes,
      delta.ranges,
      (page) => this.#page(page) as Uint8Array,
    );
    if (this.#factsChanged) this.image.setFacts(this.#facts);
    this.#factsChanged = false;
    // An image that is not in memory has kept its pages.
    this.#overlay.clear(!this.image.resident);
    this.#minLength = this.#lengthBefore = this.#length;
    this.#committedGeneration = this.#generation;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.image.references.drop(this.#looks);
    if (this.#snapshot !== undefined) this.image.closeSnapshot(this.#snapshot);
    this.#overlay.clear(true);
  }

  /** Its record is on its way: what would still be written would not be in it. */
  seal(): void {
    this.#sealed = true;
    this.#overlay.keep();
  }

  #alive(): void {
    if (this.#ended)
      throw new PinionError("view-expired", "the turn of this extent is over", {
        details: { extent: this.image.identity.name },
      });
  }

  #check(offset: number, byteCount: number): void {
    this.#alive();
    if (offset >= 0 && byteCount >= 0 && offset + byteCount <= this.#length) return;
    throw new PinionError(
      "invalid-argument",
      `bytes ${offset} to ${offset + byteCount} of extent "${this.image.identity.name}", which has ${this.#length}`,
    );
  }

  #writable(): void {
    this.#alive();
    if (this.#sealed)
      throw new PinionError(
        "view-expired",
        "the turn of this extent is over: its changes are being recorded",
        {
          details: { extent: this.image.identity.name },
        },
      );
    if (this.readonly)
      throw new PinionError("readonly-violation", "a readonly method cannot change an extent", {
        details: { extent: this.image.identity.name },
      });
  }
}

/** Copies what a page has of the range that begins at `offset` into it. */
function copyPart(page: number, content: Uint8Array, offset: number, range: Uint8Array): void {
  const start = page * PAGE_BYTES;
  const from = Math.max(start, offset);
  const to = Math.min(start + PAGE_BYTES, offset + range.length);
  range.set(content.subarray(from - start, to - start), from - offset);
}
