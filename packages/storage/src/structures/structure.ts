/**
 * What all structures have in common: how one is declared, and the first eight bytes of its extent. Little endian.
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | magic `PNST` |
 * | 4 | 1 | kind: 1 column, 2 log, 3 blob, 4 map, 5 graph |
 * | 5 | 1 | reserved, 0 |
 * | 6 | 2 | version of the kind's format |
 *
 * An extent of no bytes is an empty structure: the header comes with the first write. What `bytes` holds is its user's from the first byte on.
 *
 * S1 opening a handle touches no byte; the header is read and checked by the first operation that needs it.
 * S2 bytes come back verified as they were written, yet nothing that is read is trusted: whatever the bytes say, an operation
 *    ends with a result or a typed error, in time and memory bounded by the length of the extent.
 */
import { parseQuantity, PinionError, QUANTITY_FORMS } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import type { GrowthCap } from "../extent/growth.ts";

/** What `memory.extents` of an actor type (and the standalone store) hold: a declaration by value. */
export interface StructureDefinition<Handle> {
  /** Stored with the extent: an extent of one kind never opens as another. */
  readonly kind: StructureKind;
  /** The newest version of its format that this program reads and the one it writes. */
  readonly version: number;
  /** Plain values, checked when defined. */
  readonly options: StructureOptions;
  /** Makes a turn's handle over the extent, in no time and without touching a byte (S1). Good until the end of the turn. */
  open(extent: ExtentAccess): Handle;
}

export interface StructureOptions extends GrowthCap {
  readonly [name: string]: string | number | boolean;
}

/** What mostly waits for nothing: a promise only where it had to. `await` takes both. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * Work over an extent, written once for both kinds of extents: it yields a promise where it must wait. Over a resident extent
 * it never does, and `drive` runs it to its end at once.
 */
export type Steps<T> = Generator<Promise<unknown>, T, unknown>;

/** Runs steps: at once as far as nothing waits. */
export function drive<T>(steps: Steps<T>): MaybePromise<T> {
  const step = steps.next();
  return step.done ? step.value : driveLater(steps, step.value);
}

async function driveLater<T>(steps: Steps<T>, first: Promise<unknown>): Promise<T> {
  let waiting = first;
  for (;;) {
    let step: IteratorResult<Promise<unknown>, T>;
    try {
      const came = await waiting;
      step = steps.next(came);
    } catch (e) {
      step = steps.throw(e); // if it was the steps themselves that threw, they only throw it again
    }
    if (step.done) return step.value;
    waiting = step.value;
  }
}

/**
 * The writes of a handle, one at a time: half of one and half of another would be neither. A write begins when the reads that wait are over: what
 * they have seen of the structure stays so until then, and nothing that they bring in is older than what the write has changed. What a failed one
 * left half done is for the turn to throw away.
 */
export class Writes {
  readonly #kind: StructureKind;
  readonly #forget: () => void;
  #running = false;
  /** Reads that wait. */
  #reads = 0;
  #readsOver: PromiseWithResolvers<void> | undefined;

  /** @param forget after a failure: what is known of the extent may not be so */
  constructor(kind: StructureKind, forget: () => void) {
    this.#kind = kind;
    this.#forget = forget;
  }

  /** For everything else: half a write is not to be read, either. @throws `invalid-argument` while one runs */
  check(): void {
    if (this.#running)
      throw new PinionError("invalid-argument", `a write to this ${this.#kind} was not awaited`);
  }

  /** Runs a read. @throws `invalid-argument` while a write runs */
  read<R>(look: () => MaybePromise<R>): MaybePromise<R> {
    this.check();
    const found = look();
    return found instanceof Promise ? this.#count(found) : found;
  }

  async #count<R>(waiting: Promise<R>): Promise<R> {
    this.#reads++;
    try {
      return await waiting;
    } finally {
      if (--this.#reads === 0) this.#readsOver?.resolve();
    }
  }

  /** What waits for the reads that do. @returns undefined: nothing does */
  #reading(): Promise<void> | undefined {
    if (this.#reads === 0) return undefined;
    this.#readsOver = Promise.withResolvers();
    return this.#readsOver.promise;
  }

  /** @throws `invalid-argument` while another one runs */
  run<R>(steps: Steps<R>): MaybePromise<R> {
    this.check();
    this.#running = true;
    let done: MaybePromise<R>;
    const reading = this.#reading();
    try {
      done = reading === undefined ? drive(steps) : reading.then(() => drive(steps));
    } catch (e) {
      this.#failed();
      throw e;
    }
    if (done instanceof Promise) return this.#await(done);
    this.#running = false;
    return done;
  }

  async #await<R>(pending: Promise<R>): Promise<R> {
    try {
      const done = await pending;
      this.#running = false;
      return done;
    } catch (e) {
      this.#failed();
      throw e;
    }
  }

  /** As `run`, for one that has begun and did not wait, or does. @throws what `begin` throws, `invalid-argument` while another one runs */
  begin(begin: () => Promise<void> | undefined): MaybePromise<void> {
    this.check();
    this.#running = true;
    let pending: Promise<void> | undefined;
    const reading = this.#reading();
    try {
      pending = reading === undefined ? begin() : reading.then(begin);
    } catch (e) {
      this.#failed();
      throw e;
    }
    if (pending !== undefined) return this.#await(pending);
    this.#running = false;
  }

  #failed(): void {
    this.#running = false;
    this.#forget();
  }
}

/** Brings in a range, which the caller has checked against the length of the extent. */
export function* fetchBytes(
  extent: ExtentAccess,
  offset: number,
  byteCount: number,
): Steps<Uint8Array> {
  return extent.peek(offset, byteCount) ?? ((yield extent.read(offset, byteCount)) as Uint8Array);
}

/** Waits for a write that had to. */
export function* settle(write: Promise<void> | undefined): Steps<void> {
  if (write !== undefined) yield write;
}

const KINDS = { column: 1, log: 2, blob: 3, map: 4, graph: 5 } as const;
/** `bytes` has no header. */
export type StructureKind = keyof typeof KINDS | "bytes";
type HeaderKind = keyof typeof KINDS;

export const STRUCTURE_HEADER_BYTES = 8;
const MAGIC = 0x54534e50; // "PNST"

const PAGE_BYTES = 4096;
/** 64 KiB … 1 GiB. */
const GROW_BOUNDS = { min: 64 * 1024, max: 2 ** 30 };

/**
 * @param grow bytes, or text such as "16MiB"; undefined: `defaultBytes`, until it is measured that more would do good
 * @param bounds in bytes; 64 KiB … 1 GiB by default, in whole pages of 4 KiB
 * @throws `config-invalid`
 */
export function resolveGrow(
  grow: string | number | undefined,
  defaultBytes: number,
  bounds: { readonly min: number; readonly max: number } = GROW_BOUNDS,
): GrowthCap {
  const bytes =
    grow === undefined
      ? defaultBytes
      : typeof grow === "number"
        ? grow
        : parseQuantity(grow, "bytes");
  if (bytes === undefined)
    throw new PinionError("config-invalid", `grow is ${grow}; write ${QUANTITY_FORMS.bytes}`);
  if (!(bytes >= bounds.min && bytes <= bounds.max && bytes % PAGE_BYTES === 0)) {
    throw new PinionError(
      "config-invalid",
      `grow is ${bytes} bytes; it must be a multiple of 4 KiB from ${bounds.min} to ${bounds.max}`,
      { details: { grow: bytes, ...bounds } },
    );
  }
  return { growBytes: bytes, growChosen: grow !== undefined };
}

/** A whole number below 2^53 as u64. */
export function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, value / 2 ** 32, true);
}

/** May come out beyond 2^53 from bytes that are wrong: whoever reads it compares it with a bound. */
export function getU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

/** A u32 as bytes. Made so that it lies on the engine's heap, as everything small that is soon forgotten should. */
export function u32Bytes(value: number): Uint8Array {
  return Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24);
}

/** A whole number below 2^53 as the bytes of a u64, likewise. */
export function u64Bytes(value: number): Uint8Array {
  const high = Math.floor(value / 2 ** 32);
  return Uint8Array.of(
    value,
    value >>> 8,
    value >>> 16,
    value >>> 24,
    high,
    high >>> 8,
    high >>> 16,
    high >>> 24,
  );
}

/** Zeros to be filled in and written at once. From Node's pool, where memory of its own would cost more than the rest of the write. */
export function zeroBytes(byteCount: number): Uint8Array {
  return Buffer.allocUnsafe(byteCount).fill(0);
}

export function dataViewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Writes the first eight bytes. */
export function putStructureHeader(header: DataView, kind: HeaderKind, version: number): void {
  header.setUint32(0, MAGIC, true);
  header.setUint8(4, KINDS[kind]);
  header.setUint8(5, 0);
  header.setUint16(6, version, true);
}

/** @throws `corruption`, `format-too-new` */
export function checkStructureHeader(header: DataView, kind: HeaderKind, version: number): void {
  if (header.byteLength < STRUCTURE_HEADER_BYTES)
    throw damagedStructure(kind, `the extent ends inside its header`, 0);
  if (header.getUint32(0, true) !== MAGIC || header.getUint8(4) !== KINDS[kind])
    throw damagedStructure(kind, "its first bytes are those of something else", 0);
  const found = header.getUint16(6, true);
  if (found > version) {
    throw new PinionError(
      "format-too-new",
      `a ${kind} has format ${found}, this version reads up to format ${version}: upgrade, or use the version that wrote it`,
      { details: { kind, version: found, supported: version } },
    );
  }
  if (found === 0 || header.getUint8(5) !== 0)
    throw damagedStructure(kind, "its header is not one", 0);
}

/** What the bytes say cannot be. @param offset where in the extent */
export function damagedStructure(kind: StructureKind, what: string, offset: number): PinionError {
  return new PinionError("corruption", `a damaged ${kind}: ${what}`, { details: { kind, offset } });
}
