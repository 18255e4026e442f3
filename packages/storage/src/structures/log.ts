/**
 * `log(options)`: entries in the order they were appended, numbered from 0, each with a time; read from either end, by number or by time;
 * the beginning can be cut off. Format: log-layout.ts.
 */
import { decodeValue, encodeValue, isPinionError, messageOf, PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { GROW_BYTES } from "../extent/growth.ts";
import {
  BLOCK_HEADER_BYTES,
  ENTRY_HEADER_BYTES,
  LOG_VERSION,
  LogLayout,
  SLOT_BYTES,
  type LogBlock,
} from "./log-layout.ts";
import {
  dataViewOf,
  drive,
  resolveGrow,
  Writes,
  zeroBytes,
  type MaybePromise,
  type Steps,
  type StructureDefinition,
} from "./structure.ts";

export interface LogStructureOptions {
  /** Room the extent gains at a time at most: bytes, or "64MiB", which is the default. */
  readonly grow?: string | number;
}

export interface LogEntry<T> {
  /** Given by the log: one more than the entry before. */
  readonly number: number;
  readonly timeMs: number;
  /** A copy. Of entries that were appended as a Uint8Array, that. */
  readonly value: T;
}

export interface EntryQuery {
  /** Number of the first entry, default the first there is. What was cut off is left out. */
  readonly from?: number;
  /** Number behind the last entry, default the end at the beginning of the iteration. */
  readonly to?: number;
  /** Newest first. */
  readonly reverse?: boolean;
  /** Entries at most. */
  readonly limit?: number;
}

export interface TimeQuery {
  /** Entries of this time and later. Default: all. */
  readonly fromMs?: number;
  /** Entries before this time. Default: all. */
  readonly toMs?: number;
  readonly reverse?: boolean;
  readonly limit?: number;
}

/** @throws `config-invalid` */
export function log<T = unknown>(
  options: LogStructureOptions = {},
): StructureDefinition<LogHandle<T>> {
  const cap = resolveGrow(options.grow, GROW_BYTES.default);
  return Object.freeze({
    kind: "log",
    version: LOG_VERSION,
    options: Object.freeze({ ...cap }),
    open: (extent: ExtentAccess) => new LogHandle<T>(extent),
  });
}

const RAW = 2 ** 31;
const CONTENT_BYTES_MAX = RAW - 1;

/** Where an entry lies: `at` of its block, from the start of the slot. */
interface Place {
  readonly number: number;
  readonly timeMs: number;
  readonly at: number;
  readonly byteCount: number;
  readonly raw: boolean;
}

/**
 * A log as a turn sees it. One handle for an extent and turn; over an extent that is not resident await each write before the next
 * operation. Every operation can throw `corruption`, `format-too-new` and `view-expired`.
 */
export class LogHandle<T = unknown> {
  readonly #layout: LogLayout;
  readonly #writes: Writes;

  constructor(extent: ExtentAccess) {
    const layout = new LogLayout(extent);
    this.#layout = layout;
    this.#writes = new Writes("log", () => layout.forget());
  }

  /** Entries that are there. */
  get length(): MaybePromise<number> {
    return this.#read(this.#bounds(({ firstEntry, nextEntry }) => nextEntry - firstEntry));
  }

  /** Number of the oldest entry, or if there is none, of the next. */
  get firstNumber(): MaybePromise<number> {
    return this.#read(this.#bounds(({ firstEntry }) => firstEntry));
  }

  /** Number that the next entry gets. */
  get nextNumber(): MaybePromise<number> {
    return this.#read(this.#bounds(({ nextEntry }) => nextEntry));
  }

  #read<R>(steps: Steps<R>): MaybePromise<R> {
    return this.#writes.read(() => drive(steps));
  }

  *#bounds(of: (layout: LogLayout) => number): Steps<number> {
    yield* this.#layout.load();
    return of(this.#layout);
  }

  /**
   * @param value anything that can be an argument of a call; a Uint8Array is stored as it is
   * @param timeMs default: the time of the entry before, 0 for the first. An earlier time than that is raised to it, so that the log is in the
   *   order of its times, too: put the time of an event that arrives late into the value.
   * @returns the number of the entry
   * @throws `not-serializable`, `invalid-argument` for a time that is not a finite number, `readonly-violation`, `write-set-too-large`
   */
  append(value: T, timeMs?: number): MaybePromise<number> {
    return this.#writes.run(this.#append(value, timeMs));
  }

  /** Undefined for what was cut off or is not there yet. */
  get(number: number): MaybePromise<LogEntry<T> | undefined> {
    return this.#read(this.#get(number));
  }

  *#get(number: number): Steps<LogEntry<T> | undefined> {
    yield* this.#layout.load();
    const { firstEntry, nextEntry } = this.#layout;
    if (!(Number.isSafeInteger(number) && number >= firstEntry && number < nextEntry))
      return undefined;
    return (yield* this.#batch(number, number + 1, 1, false))[0];
  }

  /** The last `count` entries, oldest first. */
  tail(count: number): MaybePromise<LogEntry<T>[]> {
    return this.#read(this.#tail(count));
  }

  *#tail(count: number): Steps<LogEntry<T>[]> {
    yield* this.#layout.load();
    const newestFirst: LogEntry<T>[] = [];
    let end = this.#layout.nextEntry;
    const from = Math.max(this.#layout.firstEntry, end - count);
    while (end > from) {
      const batch = yield* this.#batch(from, end, end - from, true);
      newestFirst.push(...batch);
      end -= batch.length;
    }
    return newestFirst.toReversed();
  }

  /** One block in memory at a time. What is appended meanwhile is left out. */
  async *entries(query: EntryQuery = {}): AsyncGenerator<LogEntry<T>> {
    const { reverse = false, limit = Infinity } = query;
    await this.#read(this.#layout.load());
    let from = Math.max(query.from ?? 0, this.#layout.firstEntry);
    let to = Math.min(query.to ?? Infinity, this.#layout.nextEntry);
    let left = limit;
    while (left > 0) {
      await this.#read(this.#layout.load());
      from = Math.max(from, this.#layout.firstEntry); // somebody may have cut it off meanwhile
      if (from >= to) return;
      const batch = await this.#read(this.#batch(from, to, left, reverse));
      if (reverse) to -= batch.length;
      else from += batch.length;
      left -= batch.length;
      yield* batch;
    }
  }

  /** As `entries`, by time. */
  async *range(query: TimeQuery = {}): AsyncGenerator<LogEntry<T>> {
    const { fromMs = -Infinity, toMs = Infinity, reverse = false, limit = Infinity } = query;
    const from = await this.#read(this.#numberAt(fromMs));
    const to = await this.#read(this.#numberAt(toMs));
    yield* this.entries({ from, to, reverse, limit });
  }

  /**
   * Cuts off the entries before `number`; at most all there are. Their room, in blocks of 64 KiB, is used by the next entries; the
   * extent does not shrink. Costs the same for one entry and for all. @throws `readonly-violation`, `invalid-argument`
   */
  truncateBefore(number: number): MaybePromise<void> {
    return this.#writes.run(this.#truncateBefore(number));
  }

  *#truncateBefore(number: number): Steps<void> {
    const layout = this.#layout;
    yield* layout.load();
    if (!(Number.isSafeInteger(number) && number <= layout.nextEntry)) {
      throw new PinionError(
        "invalid-argument",
        `a log cannot be cut at ${number}: its next entry is ${layout.nextEntry}`,
      );
    }
    if (number <= layout.firstEntry) return;
    yield* layout.cutBefore(yield* layout.find(({ firstEntry }) => firstEntry > number));
    layout.firstEntry = number;
    yield* layout.save();
  }

  *#append(value: T, timeMs: number | undefined): Steps<number> {
    const raw = value instanceof Uint8Array;
    const content = raw ? value : encodeValue(value, "entry");
    const layout = this.#layout;
    yield* layout.load();
    const time = timeMs ?? layout.lastTimeMs;
    if (!Number.isFinite(time) || content.length > CONTENT_BYTES_MAX) {
      throw new PinionError(
        "invalid-argument",
        `an entry of a log has a finite time and less than 2 GiB, not ${time} and ${content.length} bytes`,
      );
    }
    layout.begin();
    const number = layout.nextEntry;
    if (SLOT_BYTES - layout.usedBytes < ENTRY_HEADER_BYTES)
      yield* layout.addBlock(number, layout.lastTimeMs, 0);
    layout.lastTimeMs = Math.max(time, layout.lastTimeMs);
    layout.nextEntry = number + 1;
    let part = Math.min(content.length, SLOT_BYTES - layout.usedBytes - ENTRY_HEADER_BYTES);
    const bytes = zeroBytes(ENTRY_HEADER_BYTES + part);
    const view = dataViewOf(bytes);
    view.setUint32(0, content.length + (raw ? RAW : 0), true);
    view.setFloat64(4, layout.lastTimeMs, true);
    bytes.set(content.subarray(0, part), ENTRY_HEADER_BYTES);
    yield* layout.write(bytes);
    for (let done = part; done < content.length; done += part) {
      yield* layout.addBlock(number + 1, layout.lastTimeMs, content.length - done);
      part = Math.min(content.length - done, SLOT_BYTES - BLOCK_HEADER_BYTES);
      yield* layout.write(content.subarray(done, done + part));
    }
    yield* layout.save();
    return number;
  }

  /** Entries of one block: from `from` on, or before `to` and the last first; at least one if there is one. */
  *#batch(from: number, to: number, limit: number, reverse: boolean): Steps<LogEntry<T>[]> {
    const wanted = reverse ? to - 1 : from;
    const block = yield* this.#layout.find(({ firstEntry }) => firstEntry > wanted);
    const bytes = yield* this.#layout.bytesOf(block);
    const places = yield* this.#placesIn(block, bytes);
    const here = places.filter(({ number }) => number >= from && number < to);
    if (here.length === 0)
      throw this.#layout.damaged(`entry ${wanted} is not where it should be`, 0);
    if (reverse) here.reverse();
    const entries: LogEntry<T>[] = [];
    for (const place of here.slice(0, Math.min(limit, here.length))) {
      const value = yield* this.#valueAt(block, bytes, place);
      entries.push({ number: place.number, timeMs: place.timeMs, value });
    }
    return entries;
  }

  *#placesIn(block: LogBlock, bytes: Uint8Array): Steps<Place[]> {
    const next = yield* this.#layout.after(block);
    const end = next?.firstEntry ?? this.#layout.nextEntry;
    const view = dataViewOf(bytes);
    const places: Place[] = [];
    let at = block.firstAt;
    for (let number = block.firstEntry; number < end; number++) {
      if (at + ENTRY_HEADER_BYTES > bytes.length)
        throw this.#layout.damaged(
          `entry ${number} in block ${block.number}`,
          block.slot * SLOT_BYTES,
        );
      const word = view.getUint32(at, true);
      const byteCount = word % RAW;
      const timeMs = view.getFloat64(at + 4, true);
      places.push({ number, timeMs, at, byteCount, raw: word >= RAW });
      at += ENTRY_HEADER_BYTES + byteCount;
    }
    return places;
  }

  *#valueAt(block: LogBlock, bytes: Uint8Array, place: Place): Steps<T> {
    const start = place.at + ENTRY_HEADER_BYTES;
    let content = bytes.subarray(start, start + place.byteCount);
    if (content.length < place.byteCount) content = yield* this.#gather(block, content, place);
    if (place.raw) return content.slice() as T;
    try {
      return decodeValue(content) as T;
    } catch (e) {
      if (!isPinionError(e, "malformed-frame")) throw e;
      throw this.#layout.damaged(`entry ${place.number}: ${messageOf(e)}`, block.slot * SLOT_BYTES);
    }
  }

  /** Content that goes on in the next blocks. */
  *#gather(first: LogBlock, begun: Uint8Array, place: Place): Steps<Uint8Array> {
    const layout = this.#layout;
    const tooLong = (): PinionError =>
      layout.damaged(`entry ${place.number} of ${place.byteCount} bytes`, first.slot * SLOT_BYTES);
    if (place.byteCount > layout.extent.lengthBytes) throw tooLong();
    const content = new Uint8Array(place.byteCount);
    content.set(begun);
    let block = first;
    for (let done = begun.length; done < content.length;) {
      const next = yield* layout.after(block);
      if (next === undefined) throw tooLong();
      const bytes = yield* layout.bytesOf(next);
      const part = bytes.subarray(BLOCK_HEADER_BYTES, BLOCK_HEADER_BYTES + content.length - done);
      if (part.length === 0) throw tooLong();
      content.set(part, done);
      done += part.length;
      block = next;
    }
    return content;
  }

  /** Number of the first entry that is not older. */
  *#numberAt(timeMs: number): Steps<number> {
    const layout = this.#layout;
    yield* layout.load();
    if (timeMs === -Infinity) return layout.firstEntry;
    if (layout.nextEntry === 0 || timeMs > layout.lastTimeMs) return layout.nextEntry;
    const block = yield* layout.find(({ timeBefore }) => timeBefore >= timeMs);
    const places = yield* this.#placesIn(block, yield* layout.bytesOf(block));
    const found = places.find((place) => place.timeMs >= timeMs);
    return found?.number ?? block.firstEntry + places.length;
  }
}
