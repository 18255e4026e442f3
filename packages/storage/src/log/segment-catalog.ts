/**
 * What is known of every segment of an open log. Rows live in the index; a bounded number of them is kept in memory, and
 * changes reach the index behind the log's back: nothing on the write path waits for it.
 *
 * I1 segments are `first` … `last` without a gap; `last` is the active one.
 * I2 a change is in `#unsaved` until the index has committed it, so that a full or failed index never shows old facts.
 * I3 a row is removed durably before anybody may remove its file (`forgetBelow`).
 */
import { isPinionError, PinionError, type Clock, type Timer } from "@pinion/core";
import type { LogIndex, SegmentEntry } from "./log-index.ts";

/** Memory for rows: at 256 shards a row takes about 5 KiB. */
const CACHE_BYTES = 2 << 20;
const HEADS_BYTES_PER_SHARD = 20;
const CACHED_ROWS_MIN = 8;
const RETRY_MS = 1000;

export interface SegmentCatalogOptions {
  readonly index: LogIndex;
  readonly clock: Clock;
  readonly shardCount: number;
  readonly first: number;
  readonly active: SegmentEntry;
  readonly previous: SegmentEntry | undefined;
}

export class SegmentCatalog {
  readonly #index: LogIndex;
  readonly #clock: Clock;
  readonly #cachedMax: number;
  /** Least recently used first. */
  readonly #cache = new Map<number, SegmentEntry>();
  readonly #unsaved = new Map<number, SegmentEntry>();
  #saving: Promise<void> | undefined;
  #retry: Timer | undefined;
  #failure: PinionError | undefined;
  #first: number;
  #last: number;
  /** Lowest sequence that may still have a row. */
  #firstRow: number;

  constructor(options: SegmentCatalogOptions) {
    this.#index = options.index;
    this.#clock = options.clock;
    this.#cachedMax = Math.max(
      CACHED_ROWS_MIN,
      Math.floor(CACHE_BYTES / (HEADS_BYTES_PER_SHARD * options.shardCount)),
    );
    this.#first = options.first;
    this.#firstRow = options.first;
    this.#last = options.active.sequence;
    this.#keep(options.active);
    if (options.previous) this.#keep(options.previous);
  }

  get first(): number {
    return this.#first;
  }

  get last(): number {
    return this.#last;
  }

  get count(): number {
    return this.#last - this.#first + 1;
  }

  /** Why the index takes no changes any more. The log goes on without: it is rebuilt when the log is opened again. */
  get indexFailure(): PinionError | undefined {
    return this.#failure;
  }

  async entry(sequence: number): Promise<SegmentEntry> {
    const known = this.#unsaved.get(sequence) ?? this.#cache.get(sequence);
    if (known) {
      this.#keep(known);
      return known;
    }
    const row = await this.#index.entry(sequence);
    if (!row) {
      throw new PinionError(
        "corruption",
        `the index has lost log segment ${sequence}: open the log again to rebuild it`,
        {
          details: { segment: sequence },
        },
      );
    }
    // It may have changed meanwhile.
    const changed = this.#unsaved.get(sequence) ?? this.#cache.get(sequence);
    if (changed) return changed;
    this.#keep(row);
    return row;
  }

  /** A new active segment; the one before ends at `previousEnd`. */
  async begin(entry: SegmentEntry, previousEnd: number): Promise<void> {
    const previous = this.#cache.get(this.#last) ?? this.#unsaved.get(this.#last);
    this.#last = entry.sequence;
    if (previous) this.#change({ ...previous, end: previousEnd });
    this.#change(entry);
    await this.save();
  }

  /** Changes what is known of a segment, if it is still there. Never rejects: see `save`. */
  async update(sequence: number, change: Partial<Omit<SegmentEntry, "sequence">>): Promise<void> {
    try {
      const entry = await this.entry(sequence);
      if (sequence < this.#first) return;
      this.#change({ ...entry, ...change });
    } catch (e) {
      if (sequence >= this.#first) this.#fail(e);
    }
    await this.save();
  }

  /** Takes the segments below `sequence` out of the log, durably (I3). From the call on nobody finds them. */
  async forgetBelow(sequence: number): Promise<void> {
    for (let gone = this.#first; gone < sequence; gone++) {
      this.#cache.delete(gone);
      this.#unsaved.delete(gone);
    }
    this.#first = sequence;
    await this.#saving;
    if (this.#failure) throw this.#failure;
    const writes = [];
    for (let gone = this.#firstRow; gone < sequence; gone++) writes.push(this.#index.drop(gone));
    await this.#index.commit(writes);
    await this.#index.sync();
    this.#firstRow = sequence;
  }

  /** The last segment in which `isBefore` holds for what its heads state, or undefined. Heads only move forward. */
  async lastWhere(isBefore: (entry: SegmentEntry) => boolean): Promise<SegmentEntry | undefined> {
    let low = this.#first;
    let high = this.#last;
    let found: SegmentEntry | undefined;
    while (low <= high) {
      const middle = low + Math.floor((high - low) / 2);
      const entry = await this.entry(middle).catch((e: unknown) => {
        if (middle >= this.#first) throw e;
        return undefined;
      });
      if (!entry) {
        // Let go meanwhile.
        low = this.#first;
      } else if (isBefore(entry)) {
        found = entry;
        low = middle + 1;
      } else {
        high = middle - 1;
      }
    }
    return found;
  }

  /** Commits what the index does not have yet. Never rejects: a full disk is tried again, anything else is `indexFailure`. */
  save(): Promise<void> {
    this.#saving ??= this.#save().finally(() => (this.#saving = undefined));
    return this.#saving;
  }

  /** Commits and flushes the index, if it still works. */
  async close(): Promise<void> {
    this.#retry?.cancel();
    await this.save();
    if (!this.#failure) await this.#index.sync().catch((e: unknown) => this.#fail(e));
    this.#retry?.cancel();
  }

  async #save(): Promise<void> {
    while (this.#unsaved.size > 0 && !this.#failure) {
      const batch = [...this.#unsaved.values()];
      try {
        await this.#index.commit(batch.map((entry) => this.#index.put(entry)));
      } catch (e) {
        if (!isPinionError(e, "disk-full")) return this.#fail(e);
        this.#retry ??= this.#clock.setTimer(RETRY_MS, () => {
          this.#retry = undefined;
          void this.save();
        });
        return;
      }
      for (const entry of batch) {
        if (this.#unsaved.get(entry.sequence) === entry) this.#unsaved.delete(entry.sequence);
      }
    }
  }

  #fail(e: unknown): void {
    this.#failure ??= isPinionError(e)
      ? e
      : new PinionError("io-error", "the log's index has failed", { cause: e });
  }

  #change(entry: SegmentEntry): void {
    this.#unsaved.set(entry.sequence, entry);
    this.#keep(entry);
  }

  #keep(entry: SegmentEntry): void {
    this.#cache.delete(entry.sequence);
    this.#cache.set(entry.sequence, entry);
    for (const sequence of this.#cache.keys()) {
      if (this.#cache.size <= this.#cachedMax) return;
      // The active segment's row is asked for by whoever reads the newest records.
      if (sequence !== this.#last) this.#cache.delete(sequence);
    }
  }
}
