/** A map from bytes to bytes in bytewise order of the keys: the tables of `SimKv`. Values are shared, never changed. */
import type { KvEntry, KvRange } from "./kv-store.ts";

export class SortedTable {
  readonly #values = new Map<string, Uint8Array>();
  /** Keys in order, one latin-1 character a byte: string order is then byte order. Undefined when it has to be sorted anew. */
  #order: string[] | undefined = [];

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#values.get(textOf(key));
  }

  set(key: Uint8Array, value: Uint8Array): void {
    const text = textOf(key);
    if (!this.#values.has(text)) this.#order = undefined;
    this.#values.set(text, value);
  }

  delete(key: Uint8Array): void {
    if (this.#values.delete(textOf(key))) this.#order = undefined;
  }

  range({ from, to, limit = Infinity, reverse = false }: KvRange): KvEntry[] {
    const order = (this.#order ??= [...this.#values.keys()].sort());
    const start = from ? lowerBound(order, textOf(from)) : 0;
    const end = to ? lowerBound(order, textOf(to)) : order.length;
    const count = Math.max(0, Math.min(limit, end - start));
    const chosen = reverse
      ? order.slice(end - count, end).toReversed()
      : order.slice(start, start + count);
    return chosen.map((text) => ({
      key: new Uint8Array(Buffer.from(text, "latin1")),
      value: (this.#values.get(text) as Uint8Array).slice(),
    }));
  }

  copy(): SortedTable {
    const copy = new SortedTable();
    for (const [key, value] of this.#values) copy.#values.set(key, value);
    copy.#order = this.#order;
    return copy;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** Index of the first key that is not less than `key`. */
function lowerBound(order: readonly string[], key: string): number {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((order[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
