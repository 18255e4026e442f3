/**
 * Pages of an extent as operations of a tree see them. An operation is a synchronous function that reads pages and changes
 * copies of them; only when it has come to its end are the changes written to the extent. One that needs a page that is not in
 * memory is dropped, waits for the page and begins again.
 *
 * State: the header as of `extent.generation`, the copies of the running operation, the pages that were waited for.
 *
 * P1 an operation is applied whole or not at all: what it throws, it throws before the first write. Only the extent itself can refuse in the
 *    middle (`write-set-too-large`); then everything after it throws the same, so that the turn fails.
 * P2 bytes of the extent are not used beyond the next write to it: what was waited for is forgotten when `generation` has moved.
 * P3 an operation that changes something begins when all that were called before it have ended; one that reads sees all changes that were
 *    called before it, and none that came later.
 * P4 on a resident extent nothing here waits: what is returned is settled.
 */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { emptyHeader, MAP_HEADER_BYTES, putHeader, readHeader } from "./map-header.ts";
import type { TreeFormat, TreeHeader } from "./map-header.ts";
import { checkNode, damagedNode, PAGE_BYTES, type Bytes } from "./map-node.ts";

import type { MaybePromise } from "./structure.ts";

const SPARE_PAGES_MAX = 64;
const headerBytes = new Uint8Array(PAGE_BYTES);
const NO_BYTES = new Uint8Array(0);

/** Thrown to say which range an operation waits for; never leaves this file. */
class Absent {
  readonly offset: number;
  readonly byteCount: number;

  constructor(offset: number, byteCount: number) {
    this.offset = offset;
    this.byteCount = byteCount;
  }
}

/** What one operation waited for so far. */
class Waited {
  readonly ranges = new Map<number, Bytes>();
  generation = -1;
}

/** Copies are many and short-lived; they come from here. */
const spares: Uint8Array[] = [];

/** A page while an operation changes it. Up to two ranges are written. */
export class ChangedPage {
  readonly bytes: Uint8Array = spares.pop() ?? new Uint8Array(PAGE_BYTES);
  #from1 = 0;
  #to1 = 0;
  #from2 = 0;
  #to2 = 0;

  /** Bytes `from … to` were changed. A third range joins the nearer of two. */
  touch(from: number, to: number): void {
    if (this.#to1 === 0 || (from <= this.#to1 + 16 && to + 16 >= this.#from1)) {
      this.#from1 = this.#to1 === 0 ? from : Math.min(from, this.#from1);
      this.#to1 = Math.max(to, this.#to1);
    } else if (this.#to2 === 0 || (from <= this.#to2 + 16 && to + 16 >= this.#from2)) {
      this.#from2 = this.#to2 === 0 ? from : Math.min(from, this.#from2);
      this.#to2 = Math.max(to, this.#to2);
    } else if (Math.abs(from - this.#to1) < Math.abs(this.#from2 - to)) {
      this.#from1 = Math.min(from, this.#from1);
      this.#to1 = Math.max(to, this.#to1);
    } else {
      this.#from2 = Math.min(from, this.#from2);
      this.#to2 = Math.max(to, this.#to2);
    }
  }

  touchAll(): void {
    this.#from1 = 0;
    this.#to1 = PAGE_BYTES;
    this.#to2 = 0;
  }

  addTo(writes: Writes, page: number): void {
    const at = page * PAGE_BYTES;
    if (this.#to1 > 0) writes.add(at + this.#from1, this.bytes.subarray(this.#from1, this.#to1));
    if (this.#to2 > 0) writes.add(at + this.#from2, this.bytes.subarray(this.#from2, this.#to2));
  }

  release(): void {
    if (spares.length < SPARE_PAGES_MAX) spares.push(this.bytes);
  }
}

/** What an operation writes when it has come to its end. */
class Writes {
  readonly offsets: number[] = [];
  readonly ranges: Bytes[] = [];

  add(offset: number, bytes: Bytes): void {
    this.offsets.push(offset);
    this.ranges.push(bytes);
  }
}

const nested = (): PinionError =>
  new PinionError("invalid-argument", "what an update calls may not use the map that it updates");

export class PageStore {
  readonly extent: ExtentAccess;
  readonly format: TreeFormat;
  readonly header: TreeHeader = emptyHeader();
  #headerChanged = false;
  /** Of the extent, when `header` was read or written; −1: unknown. */
  #generation = -1;
  readonly #changed = new Map<number, ChangedPage>();
  /** Values that the operation wrote, by their first page. */
  readonly #runs = new Map<number, Bytes>();
  #overwritePage = 0;
  #overwriteAt = 0;
  #overwriteBytes: Bytes = NO_BYTES;
  /** Of the running operation. */
  #waited: Waited | undefined;
  /** Ends with the last of the changes that wait (P3). */
  #changes: Promise<void> | undefined;
  /** Ends with the last of the reads that wait and were called behind all of these changes. */
  #reads: Promise<void> | undefined;
  #isOutside = false;
  #failure: unknown;
  /** Bytes that operations wrote so far: what a caller bounds its steps by. */
  writtenBytes = 0;

  constructor(extent: ExtentAccess, format: TreeFormat) {
    this.extent = extent;
    this.format = format;
  }

  /** Whether an operation that is called now is done when it returns: what it uses need not outlive the call. */
  get isImmediate(): boolean {
    return this.extent.resident && this.#changes === undefined && this.#reads === undefined;
  }

  /** Runs `look`, which changes nothing. @throws `corruption`, `view-expired`, `io-error` and what `look` throws */
  read<T>(look: () => T): MaybePromise<T> {
    if (this.#isOutside) throw nested();
    if (this.#changes !== undefined) return this.#queueRead(look, undefined);
    try {
      return this.#run(look);
    } catch (e) {
      if (!(e instanceof Absent)) throw e;
      return this.#queueRead(look, e);
    }
  }

  /** As `read`, without a promise. @throws `not-resident` when a page is not in memory */
  readNow<T>(look: () => T): T {
    if (this.#changes !== undefined)
      throw new PinionError(
        "not-resident",
        "a change that was called before still waits for pages",
      );
    try {
      return this.#run(look);
    } catch (e) {
      if (!(e instanceof Absent)) throw e;
      throw new PinionError(
        "not-resident",
        `bytes ${e.offset} to ${e.offset + e.byteCount} of the ${this.format.kind} are not in memory`,
        { details: { offset: e.offset } },
      );
    }
  }

  /** Runs code that is not part of the operation in its middle: it may use everything but this store. */
  outside<T>(code: () => T): T {
    this.#isOutside = true;
    try {
      return code();
    } finally {
      this.#isOutside = false;
    }
  }

  #run<T>(operation: () => T, waited?: Waited): T {
    this.#waited = waited;
    this.#begin();
    return operation();
  }

  #queueRead<T>(look: () => T, absent: Absent | undefined): Promise<T> {
    const done = this.#readLater(look, absent, this.#changes);
    const ended = Promise.allSettled([this.#reads, done]).then(() => {
      if (this.#reads === ended) this.#reads = undefined;
    });
    this.#reads = ended;
    return done;
  }

  async #readLater<T>(
    look: () => T,
    absent: Absent | undefined,
    changes: Promise<void> | undefined,
  ): Promise<T> {
    await changes;
    const waited = new Waited();
    for (;;) {
      if (absent !== undefined) await this.#bringIn(absent, waited);
      try {
        return this.#run(look, waited);
      } catch (e) {
        if (!(e instanceof Absent)) throw e;
        absent = e;
      }
    }
  }

  /** Runs an operation that changes pages (P1). Unless the extent is resident, `change` may run again later: it must own what it uses. */
  update<T>(change: () => T): MaybePromise<T> {
    if (this.#isOutside) throw nested();
    if (this.#changes !== undefined || this.#reads !== undefined)
      return this.#queue(() => this.#updateLater(change, undefined));
    try {
      const result = this.#run(change);
      const written = this.#apply();
      if (written === undefined) return result;
      return this.#queue(() => written.then(() => result));
    } catch (e) {
      this.#drop();
      if (!(e instanceof Absent)) throw e;
      return this.#queue(() => this.#updateLater(change, e));
    }
  }

  async #updateLater<T>(change: () => T, absent: Absent | undefined): Promise<T> {
    const waited = new Waited();
    for (;;) {
      if (absent !== undefined) await this.#bringIn(absent, waited);
      try {
        const result = this.#run(change, waited);
        await this.#apply();
        return result;
      } catch (e) {
        this.#drop();
        if (!(e instanceof Absent)) throw e;
        absent = e;
      }
    }
  }

  #queue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#afterAll(this.#changes, this.#reads, work);
    const ended = Promise.allSettled([done]).then(() => {
      if (this.#changes === ended) this.#changes = undefined;
    });
    this.#changes = ended;
    this.#reads = undefined; // those after this one wait for it
    return done;
  }

  async #afterAll<T>(
    changes: Promise<void> | undefined,
    reads: Promise<void> | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    if (changes !== undefined) await changes;
    if (reads !== undefined) await reads;
    return work();
  }

  async #bringIn({ offset, byteCount }: Absent, waited: Waited): Promise<void> {
    const { extent } = this;
    const { generation } = extent;
    // Somebody may have cut the extent meanwhile; then the retry finds out what is wrong.
    if (offset + byteCount > extent.lengthBytes) return;
    const bytes = await extent.read(offset, byteCount);
    if (!extent.readonly) {
      if (extent.generation !== generation) return; // P2
      if (waited.generation !== generation) waited.ranges.clear();
    }
    waited.generation = generation;
    waited.ranges.set(offset, bytes);
  }

  #begin(): void {
    if (this.#failure !== undefined) throw this.#failure;
    const { extent, header } = this;
    if (extent.ended) throw new PinionError("view-expired", "the turn of this extent is over");
    if (extent.generation === this.#generation) return;
    if (extent.lengthBytes === 0) {
      Object.assign(header, emptyHeader());
    } else {
      const bytes = this.#bytes(0, Math.min(MAP_HEADER_BYTES, extent.lengthBytes));
      if (bytes.length < MAP_HEADER_BYTES)
        throw damagedNode(0, "the extent ends inside its header");
      readHeader(bytes, this.format, extent.lengthBytes, header);
    }
    this.#generation = extent.generation;
  }

  #bytes(offset: number, byteCount: number): Bytes {
    const { extent } = this;
    const bytes = extent.peek(offset, byteCount);
    if (bytes !== undefined) return bytes;
    const waited = this.#waited;
    const known =
      waited?.generation === extent.generation || extent.readonly
        ? waited?.ranges.get(offset)
        : undefined;
    if (known !== undefined && known.length >= byteCount) return known.subarray(0, byteCount);
    throw new Absent(offset, byteCount);
  }

  /** A page as the operation sees it. @throws `corruption` for one that cannot be */
  page(page: number): Bytes {
    if (this.#overwritePage === page && page !== 0) this.#keepOverwrite();
    if (this.#changed.size > 0) {
      const changed = this.#changed.get(page);
      if (changed !== undefined) return changed.bytes;
    }
    if (page === 0 || page >= this.header.pages)
      throw damagedNode(page, `there are ${this.header.pages} pages`);
    return this.#bytes(page * PAGE_BYTES, PAGE_BYTES);
  }

  /** A page that must be a node. @throws `corruption` */
  node(page: number, level: number): Bytes {
    const bytes = this.page(page);
    checkNode(bytes, page, level);
    return bytes;
  }

  /** The operation's own copy of a page, to be changed; say what with `touch`. */
  change(page: number): ChangedPage {
    const before = this.page(page);
    const known = this.#changed.get(page);
    if (known !== undefined) return known;
    const changed = new ChangedPage();
    changed.bytes.set(before);
    this.#changed.set(page, changed);
    return changed;
  }

  /** A page whose old content does not matter. Its bytes are undefined until they are filled; all of them are written. */
  replace(page: number): ChangedPage {
    const changed = this.#changed.get(page) ?? new ChangedPage();
    changed.touchAll();
    this.#changed.set(page, changed);
    return changed;
  }

  /** Changes to a page that was given back are not written. */
  forget(page: number): void {
    this.#changed.get(page)?.release();
    this.#changed.delete(page);
    this.#runs.delete(page);
    if (this.#overwritePage === page) this.#overwritePage = 0;
  }

  /** Replaces a few bytes of a page without a copy of it: what most updates come to. `bytes` are written at the end of the operation. */
  overwrite(page: number, at: number, bytes: Bytes): void {
    if (this.#overwritePage !== 0) this.#keepOverwrite();
    this.#overwritePage = page;
    this.#overwriteAt = at;
    this.#overwriteBytes = bytes;
  }

  #keepOverwrite(): void {
    const page = this.#overwritePage;
    this.#overwritePage = 0;
    const changed = this.change(page);
    changed.bytes.set(this.#overwriteBytes, this.#overwriteAt);
    changed.touch(this.#overwriteAt, this.#overwriteAt + this.#overwriteBytes.length);
  }

  /** Content of a run of pages. @throws `corruption` for one that cannot be */
  run(first: number, byteCount: number): Bytes {
    const own = this.#runs.get(first);
    if (own !== undefined) return own;
    if (first < 2 || first + Math.ceil(byteCount / PAGE_BYTES) > this.header.pages)
      throw damagedNode(first, `a run of ${byteCount} bytes leaves the extent`);
    return this.#bytes(first * PAGE_BYTES, byteCount);
  }

  /** @param bytes kept until the operation ends */
  writeRun(first: number, bytes: Bytes): void {
    this.#runs.set(first, bytes);
  }

  /** A hint; whatever it says. */
  prefetch(first: number, byteCount: number): void {
    const offset = first * PAGE_BYTES;
    if (!this.extent.resident && offset + byteCount <= this.extent.lengthBytes)
      this.extent.prefetch(offset, byteCount);
  }

  /** The header is written with the operation. */
  touchHeader(): TreeHeader {
    this.#headerChanged = true;
    return this.header;
  }

  #drop(): void {
    for (const changed of this.#changed.values()) changed.release();
    this.#clear();
    this.#generation = -1;
  }

  #clear(): void {
    // Clearing an empty one allocates, and most operations leave both empty.
    if (this.#changed.size > 0) this.#changed.clear();
    if (this.#runs.size > 0) this.#runs.clear();
    this.#overwritePage = 0;
    this.#overwriteBytes = NO_BYTES;
    this.#headerChanged = false;
  }

  /** Writes what the operation changed. */
  #apply(): Promise<void> | undefined {
    const { extent } = this;
    const isOneRange = this.#overwritePage !== 0 && this.#changed.size === 0;
    if (isOneRange && !this.#headerChanged && this.#runs.size === 0) {
      const at = this.#overwritePage * PAGE_BYTES + this.#overwriteAt;
      const bytes = this.#overwriteBytes;
      this.#clear();
      this.writtenBytes += bytes.length;
      const wait = extent.write(at, bytes); // alone: it happens or it does not (P1)
      this.#generation = extent.generation;
      return wait;
    }
    if (this.#overwritePage !== 0) this.#keepOverwrite();
    if (this.#changed.size === 0 && this.#runs.size === 0 && !this.#headerChanged) return undefined;
    if (extent.readonly) {
      throw new PinionError("readonly-violation", "a readonly turn cannot write to an extent");
    }
    const writes = new Writes();
    for (const [page, changed] of this.#changed) changed.addTo(writes, page);
    for (const [first, bytes] of this.#runs) writes.add(first * PAGE_BYTES, bytes);
    if (this.#headerChanged) {
      putHeader(headerBytes, this.format, this.header);
      const bytes = extent.lengthBytes === 0 ? PAGE_BYTES : MAP_HEADER_BYTES;
      writes.add(0, extent.resident ? headerBytes.subarray(0, bytes) : headerBytes.slice(0, bytes));
    }
    const lengthBytes = this.header.pages * PAGE_BYTES;
    const copies = [...this.#changed.values()];
    this.#clear();
    try {
      const wait = this.#write(writes, 0, lengthBytes);
      if (wait === undefined) this.#written(copies);
      return wait?.then(
        () => this.#written(copies),
        (e: unknown) => this.#fail(e),
      );
    } catch (e) {
      return this.#fail(e);
    }
  }

  #write(writes: Writes, from: number, lengthBytes: number): Promise<void> | undefined {
    const { extent } = this;
    const { offsets, ranges } = writes;
    for (let i = from; i < offsets.length; i++) {
      const range = ranges[i] as Bytes;
      this.writtenBytes += range.length;
      const wait = extent.write(offsets[i] as number, range);
      if (wait !== undefined) return wait.then(() => this.#write(writes, i + 1, lengthBytes));
    }
    // A run's last page may be cut short; pages at the end may have been given back.
    return extent.lengthBytes === lengthBytes ? undefined : extent.resize(lengthBytes);
  }

  #written(copies: readonly ChangedPage[]): void {
    for (const copy of copies) copy.release();
    this.#generation = this.extent.generation;
  }

  #fail(e: unknown): never {
    this.#failure = e; // P1
    throw e;
  }
}
