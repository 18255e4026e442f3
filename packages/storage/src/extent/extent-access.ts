/**
 * What a structure (structures/) sees of its extent during one turn: a range of bytes that grows at its end. Reads include the
 * turn's own writes; nobody else sees them before the turn commits.
 *
 * X1 bytes handed out by `peek` and `read` must not be changed, and are good until the next write to the same extent or the end of the turn,
 *    whichever is first.
 * X2 `peek` never waits: undefined means that part of the range is not in memory. `read` brings it in.
 * X3 a write changes nothing but the turn's overlay; a turn that throws leaves no trace.
 * X4 the bytes of a resident extent are always there: `peek` then never answers undefined, and `write` never waits.
 */
export interface ExtentAccess {
  /** Bytes from 0 to the end, as this turn sees it. */
  readonly lengthBytes: number;
  /** Writes throw `readonly-violation`. */
  readonly readonly: boolean;
  /** The whole extent is in memory (X4). */
  readonly resident: boolean;
  /** The turn is over: views made from it throw `view-expired`, so does everything here that reads or writes. */
  readonly ended: boolean;
  /** Grows with every write of this turn: a view that was made before shows what was before. */
  readonly generation: number;

  /** The range if it is in memory, without waiting. @throws `invalid-argument` for a range beyond the end */
  peek(offset: number, byteCount: number): Uint8Array | undefined;
  /** As `peek`, and waits where it must. @throws `invalid-argument`, `corruption` naming actor, extent and page, `io-error` */
  read(offset: number, byteCount: number): Promise<Uint8Array>;
  /**
   * Replaces a range, which may reach beyond the end: the extent grows, a gap reads as zeros. `bytes` are copied.
   * @returns a promise only when a page had to be brought in first; await it before the next access to the range
   * @throws `readonly-violation`, `write-set-too-large`, `invalid-argument`
   */
  write(offset: number, bytes: Uint8Array): Promise<void> | undefined;
  /**
   * As `write`, of bytes that are the extent's from now on, so that a short write of a resident extent is not copied again.
   * Whoever changes them nevertheless changes what is written, or does not, until the turn ends.
   */
  give(offset: number, bytes: Uint8Array): Promise<void> | undefined;
  /** Adds at the end; never waits. `bytes` are copied. @returns the offset they begin at @throws as `write` */
  append(bytes: Uint8Array): number;
  /** Cuts or extends (with zeros). @throws `readonly-violation` */
  resize(lengthBytes: number): Promise<void> | undefined;
  /**
   * Something outside that a write waits for, and the turn with it as it does for pages: a turn that ends before is not whole.
   * @throws `view-expired` when the turn has ended meanwhile
   */
  waitFor<T>(work: Promise<T>): Promise<T>;
  /** What is in the extent is not whole until the function that this returns has been called: a turn that ends before fails. */
  hold(): () => void;
  /** A hint: this range is read soon. */
  prefetch(offset: number, byteCount: number): void;
}
