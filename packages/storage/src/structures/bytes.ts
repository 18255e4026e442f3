/**
 * `bytes(options)`: an extent as it is, for a layout of one's own: records of one length, a ring, an image. It has no header: byte 0 is its user's.
 *
 * B1 offsets and lengths are whole numbers inside the extent, or it is `invalid-argument`; only `write` and `resize` go beyond the end.
 * B2 what is handed out is the caller's own, but for what a view calls unsafe.
 */
import { isThenable, PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { GROW_BYTES } from "../extent/growth.ts";
import { BytesView } from "./bytes-view.ts";
import { copyOf, pooledCopy } from "../extent/copies.ts";
import { resolveGrow, Writes, type MaybePromise, type StructureDefinition } from "./structure.ts";

const BYTES_VERSION = 1;
const NOTHING_KNOWN = (): void => {};

export interface BytesOptions {
  /** Room the extent gains at a time at most: bytes, or "64MiB", which is the default. */
  readonly grow?: string | number;
}

/** @throws `config-invalid` */
export function bytes(options: BytesOptions = {}): StructureDefinition<BytesHandle> {
  const cap = resolveGrow(options.grow, GROW_BYTES.default);
  return Object.freeze({
    kind: "bytes",
    version: BYTES_VERSION,
    options: Object.freeze({ ...cap }),
    open: (extent: ExtentAccess) => new BytesHandle(extent),
  });
}

/**
 * The bytes as a turn sees them, own writes included. One handle for an extent and turn; over an extent that is not resident await each write
 * before the next operation. Every operation can throw `invalid-argument` (B1), `corruption`, `io-error` and `view-expired`.
 */
export class BytesHandle {
  readonly #extent: ExtentAccess;
  readonly #writes = new Writes("bytes", NOTHING_KNOWN);

  constructor(extent: ExtentAccess) {
    this.#extent = extent;
  }

  get lengthBytes(): number {
    return this.#extent.lengthBytes;
  }

  /** A copy of the range. Short ones share memory with others and cannot be transferred to another thread, only cloned. */
  read(offset: number, byteCount: number): MaybePromise<Uint8Array> {
    this.#writes.check();
    checkRange(offset, byteCount);
    const here = this.#extent.peek(offset, byteCount);
    if (here !== undefined) return pooledCopy(here, 0, byteCount);
    const reading = async (): Promise<Uint8Array> =>
      copyOf(await this.#extent.read(offset, byteCount));
    return this.#writes.read(reading);
  }

  /**
   * Replaces a range, which may reach beyond the end: what lies between reads as zeros.
   * @param content copied
   * @throws `readonly-violation`, `write-set-too-large`
   */
  write(offset: number, content: Uint8Array): MaybePromise<void> {
    checkContent(content);
    return this.#writes.begin(() => this.#extent.write(offset, content));
  }

  /**
   * Reads a range, lets `change` change it, and writes it back.
   * @param change gets a copy of the range, and must be done with it when it returns
   * @throws what `change` throws, `readonly-violation`, `write-set-too-large`
   */
  update(
    offset: number,
    byteCount: number,
    change: (range: Uint8Array) => void,
  ): MaybePromise<void> {
    checkRange(offset, byteCount);
    return this.#writes.begin(() => {
      const here = this.#extent.peek(offset, byteCount);
      if (here === undefined) return this.#updateLater(offset, byteCount, change);
      return this.#change(offset, pooledCopy(here, 0, byteCount), change);
    });
  }

  async #updateLater(
    offset: number,
    byteCount: number,
    change: (range: Uint8Array) => void,
  ): Promise<void> {
    const came = await this.#extent.read(offset, byteCount);
    await this.#change(offset, copyOf(came), change);
  }

  #change(
    offset: number,
    range: Uint8Array,
    change: (range: Uint8Array) => unknown,
  ): Promise<void> | undefined {
    const changed = change(range);
    if (isThenable(changed)) {
      changed.then(undefined, () => {});
      throw new PinionError(
        "invalid-argument",
        "what changes a range must be done when it returns, so it cannot be async",
      );
    }
    return this.#extent.give(offset, range);
  }

  /** @param content copied @returns the offset it begins at @throws `readonly-violation`, `write-set-too-large` */
  append(content: Uint8Array): number {
    this.#writes.check();
    checkContent(content);
    return this.#extent.append(content);
  }

  /** Cuts the end off, or puts zeros behind it. @throws `readonly-violation`, `write-set-too-large` where `grow` does not allow so much for a turn */
  resize(lengthBytes: number): MaybePromise<void> {
    return this.#writes.begin(() => this.#extent.resize(lengthBytes));
  }

  /** What is in memory, read without waiting. @throws `not-resident` */
  view(): BytesView {
    this.#writes.check();
    return new BytesView(this.#extent);
  }

  /** A hint: this range is read soon. */
  prefetch(offset: number, byteCount: number): void {
    checkRange(offset, byteCount);
    this.#extent.prefetch(offset, byteCount);
  }
}

/** The rest of B1 is the extent's. */
function checkRange(offset: number, byteCount: number): void {
  if (Number.isSafeInteger(offset) && Number.isSafeInteger(byteCount)) return;
  throw new PinionError("invalid-argument", `a range of ${byteCount} bytes at offset ${offset}`);
}

function checkContent(content: Uint8Array): void {
  if (!(content instanceof Uint8Array))
    throw new PinionError("invalid-argument", "what is written is a Uint8Array");
}
