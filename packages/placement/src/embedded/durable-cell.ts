/**
 * One durable value: where the embedded cluster keeps what it must not forget. The host backs it with a small checksummed
 * file; tests with memory.
 */
export interface DurableCell {
  /**
   * The value stored last; undefined before the first.
   * @throws `corruption` when it cannot be trusted, `format-too-new`, and errors of the disk
   */
  load(): Promise<Uint8Array | undefined>;
  /** Replaces the value as a whole: after a crash it is the old or the new one. Durable when this resolves. */
  store(value: Uint8Array): Promise<void>;
}

/** A cell in memory. */
export class MemoryCell implements DurableCell {
  #value: Uint8Array | undefined;

  load(): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#value);
  }

  store(value: Uint8Array): Promise<void> {
    this.#value = value.slice();
    return Promise.resolve();
  }
}
