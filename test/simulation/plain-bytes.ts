/** What an extent should hold: bytes that a turn changes, and that are as before when it throws. */

interface Undo {
  readonly offset: number;
  readonly before: Uint8Array;
  readonly length: number;
}

export class PlainBytes {
  #bytes = new Uint8Array(65_536);
  #length = 0;
  #undo: Undo[] = [];

  get length(): number {
    return this.#length;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  write(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    this.#remember(offset, end);
    this.#bytes.set(bytes, offset);
    this.#length = Math.max(this.#length, end);
  }

  /** Behind the end there are zeros. */
  resize(length: number): void {
    this.#remember(length, this.#length);
    if (length < this.#length) this.#bytes.fill(0, length, this.#length);
    this.#length = length;
  }

  /** @param isKept false: the turn threw */
  end(isKept: boolean): void {
    const undo = this.#undo.reverse();
    this.#undo = [];
    if (isKept) return;
    for (const { offset, before, length } of undo) {
      this.#bytes.set(before, offset);
      this.#length = length;
    }
  }

  #remember(from: number, to: number): void {
    const room = Math.max(from, to);
    if (room > this.#bytes.length) {
      const larger = new Uint8Array(2 * room);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    const before = this.#bytes.slice(from, Math.max(from, to));
    this.#undo.push({ offset: from, before, length: this.#length });
  }
}
