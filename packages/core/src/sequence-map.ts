/**
 * A map from sequence numbers to values, for numbers that come nearly in order and go nearly in order: calls of a session.
 * A ring sorted by number; a newcomer far out of order goes to a `Map` beside it.
 *
 * Why not a `Map` alone: V8 links each hash table to the one that takes its place when it is rebuilt. Once a table of a map with
 * steady traffic has reached the old generation, every later one, and what was in it, is kept until the next full collection:
 * measured, a sixth of all garbage instead of a five-hundredth (docs/decisions/0022).
 *
 * I1 numbers in the ring ascend, holes of deleted values included; the first and the last are no holes.
 * I2 a number is in the ring or among the strays, never in both.
 * I3 every operation takes constant or logarithmic time, amortised, whatever the order of numbers.
 */

/** A power of two: positions wrap with a mask. V8 keeps the numbers of so few on its own heap. */
const START_SLOTS = 8;
/** A newcomer passes at most this many younger numbers. */
const OUT_OF_ORDER_MAX = 64;

export class SequenceMap<V extends object> implements Iterable<readonly [number, V]> {
  #numbers = new Float64Array(START_SLOTS);
  #values: (V | undefined)[] = new Array<V | undefined>(START_SLOTS).fill(undefined);
  #head = 0;
  /** Slots in use, holes included. */
  #used = 0;
  #holes = 0;
  #strays: Map<number, V> | undefined;

  get size(): number {
    return this.#used - this.#holes + (this.#strays?.size ?? 0);
  }

  get(number: number): V | undefined {
    const at = this.#find(number);
    if (at >= 0) return this.#values[this.#slot(at)];
    return this.#strays?.get(number);
  }

  has(number: number): boolean {
    return this.get(number) !== undefined;
  }

  set(number: number, value: V): void {
    const found = this.#find(number);
    if (found >= 0) {
      const slot = this.#slot(found);
      if (this.#values[slot] === undefined) this.#holes--;
      this.#values[slot] = value;
    } else if (this.#strays?.has(number) === true || !this.#insert(number, value)) {
      (this.#strays ??= new Map()).set(number, value);
    }
  }

  /** False when it was not there. */
  delete(number: number): boolean {
    const at = this.#find(number);
    if (at < 0) return this.#strays?.delete(number) ?? false;
    const slot = this.#slot(at);
    if (this.#values[slot] === undefined) return false;
    this.#values[slot] = undefined;
    this.#holes++;
    this.#trim();
    return true;
  }

  clear(): void {
    this.#values.fill(undefined);
    this.#head = this.#used = this.#holes = 0;
    this.#strays = undefined;
  }

  /**
   * Deletes what `gone` says true of, among numbers up to `last`. Strays are asked about in the order they came, until
   * a few in a row are beyond `last`: the rest is left for a later call.
   */
  deleteUpTo(last: number, gone: (value: V) => boolean): void {
    for (let at = 0; at < this.#used; at++) {
      const slot = this.#slot(at);
      if ((this.#numbers[slot] as number) > last) break;
      const value = this.#values[slot];
      if (value === undefined || !gone(value)) continue;
      this.#values[slot] = undefined;
      this.#holes++;
    }
    this.#trim();
    if (this.#strays === undefined || this.#strays.size === 0) return;
    let beyond = 0;
    for (const [number, value] of this.#strays) {
      if (number <= last) {
        if (gone(value)) this.#strays.delete(number);
      } else if (++beyond > 8) break;
    }
  }

  /** In the order of their numbers. */
  *[Symbol.iterator](): IterableIterator<readonly [number, V]> {
    const strays = [...(this.#strays ?? [])].sort((a, b) => a[0] - b[0]);
    let next = 0;
    for (let at = 0; at < this.#used; at++) {
      const slot = this.#slot(at);
      const number = this.#numbers[slot] as number;
      while (next < strays.length && (strays[next] as [number, V])[0] < number)
        yield strays[next++] as [number, V];
      const value = this.#values[slot];
      if (value !== undefined) yield [number, value];
    }
    while (next < strays.length) yield strays[next++] as [number, V];
  }

  *values(): IterableIterator<V> {
    for (const [, value] of this) yield value;
  }

  #slot(at: number): number {
    return (this.#head + at) & (this.#values.length - 1);
  }

  #numberAt(at: number): number {
    return this.#numbers[this.#slot(at)] as number;
  }

  /** Index of the number in the ring, hole or not; −1 if it has no place there. */
  #find(number: number): number {
    let low = 0;
    let high = this.#used - 1;
    // Newcomers and the oldest are what is asked for nearly always.
    if (high < 0 || number > this.#numberAt(high) || number < this.#numberAt(0)) return -1;
    if (number === this.#numberAt(0)) return 0;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = this.#numberAt(middle);
      if (found === number) return middle;
      if (found < number) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  #insert(number: number, value: V): boolean {
    let place = this.#used;
    while (place > 0 && this.#numberAt(place - 1) > number) {
      if (this.#used - place === OUT_OF_ORDER_MAX) return false;
      place--;
    }
    if (this.#used === this.#values.length) {
      const before = this.#used - this.#holes;
      this.#rebuild(before > this.#used / 2 ? this.#used * 2 : this.#used);
      return this.#insert(number, value); // holes may have gone
    }
    for (let at = this.#used; at > place; at--) {
      const to = this.#slot(at);
      const from = this.#slot(at - 1);
      this.#numbers[to] = this.#numbers[from] as number;
      this.#values[to] = this.#values[from];
    }
    const slot = this.#slot(place);
    this.#numbers[slot] = number;
    this.#values[slot] = value;
    this.#used++;
    return true;
  }

  /** Takes holes off both ends (I1). */
  #trim(): void {
    while (this.#used > 0 && this.#values[this.#head] === undefined) {
      this.#head = (this.#head + 1) & (this.#values.length - 1);
      this.#used--;
      this.#holes--;
    }
    while (this.#used > 0 && this.#values[this.#slot(this.#used - 1)] === undefined) {
      this.#used--;
      this.#holes--;
    }
    const { length } = this.#values;
    // One that stays while all around it go must not make a search long; what a burst has grown goes back when it is over.
    if (this.#holes > OUT_OF_ORDER_MAX && this.#holes > this.#used / 2) this.#rebuild(length);
    else if (length > 1_024 && this.#used < length / 8) this.#rebuild(length / 4);
  }

  /** Without holes, in `length` slots. */
  #rebuild(length: number): void {
    const numbers = new Float64Array(length);
    const values = new Array<V | undefined>(length).fill(undefined);
    let used = 0;
    for (let at = 0; at < this.#used; at++) {
      const slot = this.#slot(at);
      if (this.#values[slot] === undefined) continue;
      numbers[used] = this.#numbers[slot] as number;
      values[used++] = this.#values[slot];
    }
    this.#numbers = numbers;
    this.#values = values;
    this.#head = 0;
    this.#used = used;
    this.#holes = 0;
  }
}
