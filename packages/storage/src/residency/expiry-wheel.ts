/**
 * Items by the time they have to be looked at. Renewing an item, which happens with every turn, costs nothing: its time only moves
 * on, and the wheel learns of it when the old time has come.
 *
 * W1 an item is in one slot at most, which is never later than its time, rounded up to a slot.
 */

export class ExpiryWheel<T> {
  readonly #slotMs: number;
  readonly #slots = new Map<number, Set<T>>();
  readonly #slotOf = new Map<T, number>();

  constructor(slotMs: number) {
    this.#slotMs = slotMs;
  }

  /** To be looked at at `dueMs`, or before if it was put for an earlier time before. Infinity: never. */
  put(item: T, dueMs: number): void {
    if (dueMs === Infinity) return;
    const slot = Math.ceil(dueMs / this.#slotMs);
    const before = this.#slotOf.get(item);
    if (before !== undefined && before <= slot) return;
    this.remove(item);
    this.#slotOf.set(item, slot);
    let items = this.#slots.get(slot);
    if (items === undefined) this.#slots.set(slot, (items = new Set()));
    items.add(item);
  }

  remove(item: T): void {
    const slot = this.#slotOf.get(item);
    if (slot === undefined) return;
    this.#slotOf.delete(item);
    const items = this.#slots.get(slot)!;
    items.delete(item);
    if (items.size === 0) this.#slots.delete(slot);
  }

  /** Takes out all whose slot has come; the caller puts back those that go on. */
  take(nowMs: number): T[] {
    const now = Math.floor(nowMs / this.#slotMs);
    const taken: T[] = [];
    for (const [slot, items] of this.#slots) {
      if (slot > now) continue;
      for (const item of items) {
        this.#slotOf.delete(item);
        taken.push(item);
      }
      this.#slots.delete(slot);
    }
    return taken;
  }
}
