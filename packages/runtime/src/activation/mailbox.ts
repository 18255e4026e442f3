/**
 * The bounded queue of calls that wait for their turn, first come, first served. A ring that grows up to its bound:
 * most actors never have anybody waiting, so an activation makes its mailbox only when somebody does.
 */
export class Mailbox<T> {
  readonly #lengthMax: number;
  #slots: (T | undefined)[] = new Array<T | undefined>(8).fill(undefined);
  #head = 0;
  #length = 0;

  /** @param lengthMax ≥ 1 */
  constructor(lengthMax: number) {
    this.#lengthMax = lengthMax;
  }

  get length(): number {
    return this.#length;
  }

  /** False when the mailbox is full. */
  push(item: T): boolean {
    if (this.#length >= this.#lengthMax) return false;
    if (this.#length === this.#slots.length) this.#resize(this.#slots.length * 2);
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = item;
    this.#length++;
    return true;
  }

  /** Ahead of everybody, whatever the bound: calls that recovery runs again were admitted long ago. */
  unshift(item: T): void {
    if (this.#length === this.#slots.length) this.#resize(this.#slots.length * 2);
    this.#head = (this.#head - 1) & (this.#slots.length - 1);
    this.#slots[this.#head] = item;
    this.#length++;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length--;
    return item;
  }

  /** Takes out the first item that matches; the rest keep their order. */
  take(matches: (item: T) => boolean): T | undefined {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let i = 0; i < this.#length; i++) {
      const item = slots[(this.#head + i) & mask] as T;
      if (!matches(item)) continue;
      for (let n = i + 1; n < this.#length; n++)
        slots[(this.#head + n - 1) & mask] = slots[(this.#head + n) & mask];
      this.#length--;
      slots[(this.#head + this.#length) & mask] = undefined;
      return item;
    }
    return undefined;
  }

  /** Empties the mailbox and returns what was in it, in order. */
  drain(): T[] {
    const items: T[] = [];
    for (let item = this.shift(); item !== undefined; item = this.shift()) items.push(item);
    return items;
  }

  #resize(size: number): void {
    const slots = new Array<T | undefined>(size).fill(undefined);
    for (let i = 0; i < this.#length; i++)
      slots[i] = this.#slots[(this.#head + i) & (this.#slots.length - 1)];
    this.#slots = slots;
    this.#head = 0;
  }
}
