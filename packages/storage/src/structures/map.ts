/**
 * `map`: keys in order, each with a value, in an extent that may be larger than memory. A B+tree of 4 KiB pages (map-tree.ts, map-node.ts)
 * behind a header (map-header.ts) and a bitmap of pages (map-allocator.ts).
 *
 * Values lie beside their keys as long as both take no more than about 1,350 bytes, else in a run of pages of their own. Encoded values are
 * those of calls and states (core's `values`); with `value: "bytes"` they are stored as they are.
 *
 * M1 what a method returns belongs to the caller; what is passed in may be changed once the method has returned.
 * M2 on a resident extent every promise returned is settled already, and no call waits for another.
 */
import {
  ByteWriter,
  decodeValue,
  isPinionError,
  messageOf,
  PinionError,
  writeValue,
} from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { copyOf, pooledCopy } from "../extent/copies.ts";
import { GROW_BYTES } from "../extent/growth.ts";
import { LeafWalk, storedValue, type KeyRange } from "./map-cursor.ts";
import { ENTRIES, type TreeFormat } from "./map-header.ts";
import {
  afterPrefix,
  KEY_CODECS,
  keyBuffer,
  type KeyCodec,
  type MapKeyKind,
  type MapKeys,
} from "./map-keys.ts";
import { keyAt, type Bytes } from "./map-node.ts";
import { PageStore } from "./map-pages.ts";
import { MapTree } from "./map-tree.ts";
import { verifyTree, type TreeReport } from "./map-verify.ts";
import {
  damagedStructure,
  resolveGrow,
  type MaybePromise,
  type StructureDefinition,
} from "./structure.ts";

const VERSION = 1;
const SCRATCH_BYTES_KEPT = 1024 * 1024;
const VALUE_CODES = { encoded: 1, bytes: 2 } as const;
const NOTHING = new Uint8Array(0);

export type MapValueKind = keyof typeof VALUE_CODES;

export interface MapOptions<Kind extends MapKeyKind> {
  readonly key: Kind;
  /** `encoded`: any value that a call can carry. Default `encoded`. */
  readonly value?: "encoded";
  /** Bytes, or text such as "16MiB". Default 64 MiB. */
  readonly grow?: string | number;
}

export interface ByteMapOptions<Kind extends MapKeyKind> {
  readonly key: Kind;
  readonly value: "bytes";
  readonly grow?: string | number;
}

export interface RangeOptions<K> {
  /** Inclusive. Default: from the first key. */
  readonly from?: K;
  /** Exclusive. Default: to the last key. */
  readonly to?: K;
  /** Entries at most. */
  readonly limit?: number;
  /** From the end of the range to its start. */
  readonly reverse?: boolean;
}

/** A map during one turn. */
export interface MapHandle<K, V> {
  /** @throws `corruption`, `io-error`, `invalid-argument` for a key that is none */
  get(key: K): MaybePromise<V | undefined>;
  has(key: K): MaybePromise<boolean>;
  /**
   * A value of the same encoded length as the one before is written in place.
   * @throws as `get`, `readonly-violation`, `not-serializable`, `write-set-too-large`
   */
  set(key: K, value: V): MaybePromise<void>;
  /**
   * Reads and writes in one step: no other call comes in between, and the key is looked for once.
   * @param change gets the value (undefined: there is none) and returns the new one (undefined: there shall be none). It runs
   *   once, must not wait, and must not use this map.
   * @returns the new value @throws as `set`, and what `change` throws: then nothing has changed
   */
  update(key: K, change: (value: V | undefined) => V | undefined): MaybePromise<V | undefined>;
  /** @returns whether there was one @throws as `set` */
  delete(key: K): MaybePromise<boolean>;
  size(): MaybePromise<number>;
  first(): Promise<[K, V] | undefined>;
  last(): Promise<[K, V] | undefined>;
  /** Entries in order, read a page at a time. The map may change meanwhile: what lies ahead shows, what lies behind does not. */
  range(options?: RangeOptions<K>): AsyncIterableIterator<[K, V]>;
  /** Entries whose key begins with `prefix`, of maps with strings or bytes for keys. @throws `invalid-argument` for others */
  prefix(
    prefix: K,
    options?: Pick<RangeOptions<K>, "limit" | "reverse">,
  ): AsyncIterableIterator<[K, V]>;
  [Symbol.asyncIterator](): AsyncIterableIterator<[K, V]>;
  /** Reads everything and checks it. @throws `corruption` naming the page */
  verify(): Promise<TreeReport>;
}

/** Declares an ordered map. @throws `config-invalid` */
export function map<Kind extends MapKeyKind>(
  options: ByteMapOptions<Kind>,
): StructureDefinition<MapHandle<MapKeys[Kind], Uint8Array>>;
export function map<V = unknown>(
  options: MapOptions<"string">,
): StructureDefinition<MapHandle<string, V>>;
export function map<V = unknown>(
  options: MapOptions<"bytes">,
): StructureDefinition<MapHandle<Uint8Array, V>>;
export function map<V = unknown>(
  options: MapOptions<"i64">,
): StructureDefinition<MapHandle<bigint, V>>;
export function map<V = unknown>(
  options: MapOptions<"number">,
): StructureDefinition<MapHandle<number, V>>;
export function map<Kind extends MapKeyKind>(options: {
  key: Kind;
  value?: MapValueKind;
  grow?: string | number;
}): StructureDefinition<MapHandle<MapKeys[Kind], unknown>> {
  const { key, value = "encoded" } = options;
  if (!Object.hasOwn(KEY_CODECS, key))
    throw new PinionError(
      "config-invalid",
      `key is ${String(key)}; write ${Object.keys(KEY_CODECS).join(", ")}`,
    );
  if (!Object.hasOwn(VALUE_CODES, value))
    throw new PinionError(
      "config-invalid",
      `value is ${String(value)}; write ${Object.keys(VALUE_CODES).join(", ")}`,
    );
  const codec: KeyCodec<MapKeys[Kind]> = KEY_CODECS[key];
  const format: TreeFormat = {
    kind: "map",
    version: VERSION,
    flavour: [codec.code, VALUE_CODES[value]],
  };
  return {
    kind: "map",
    version: VERSION,
    options: Object.freeze({
      ...resolveGrow(options.grow, GROW_BYTES.default),
      key,
      value,
    }),
    open: (extent) =>
      new TreeMap(extent, format, codec, value === "bytes" ? BYTE_VALUES : ENCODED_VALUES),
  };
}

interface ValueCodec {
  /** In memory that is used again by the next call, or the caller's. @throws `not-serializable`, `invalid-argument` */
  encode(value: unknown): Bytes;
  decode(bytes: Bytes, start: number, end: number): unknown;
}

let scratch = new ByteWriter();

const ENCODED_VALUES: ValueCodec = {
  encode(value) {
    if (scratch.buffer.length > SCRATCH_BYTES_KEPT) scratch = new ByteWriter();
    const writer = scratch;
    const start = writer.position;
    writeValue(writer, value);
    const bytes = writer.buffer.subarray(start, writer.position);
    writer.position = start; // a getter may have come here in between, so not 0
    return bytes;
  },
  decode(bytes, start, end) {
    try {
      return decodeValue(bytes, start, end);
    } catch (e) {
      if (!isPinionError(e, "malformed-frame")) throw e;
      throw damagedStructure("map", `a value cannot be decoded: ${messageOf(e)}`, 0);
    }
  },
};

const BYTE_VALUES: ValueCodec = {
  encode(value) {
    if (!(value instanceof Uint8Array))
      throw new PinionError("invalid-argument", "the values of this map are Uint8Arrays");
    return value;
  },
  decode: pooledCopy,
};

class TreeMap<K, V> implements MapHandle<K, V> {
  readonly #store: PageStore;
  readonly #tree: MapTree;
  readonly #keys: KeyCodec<K>;
  readonly #values: ValueCodec;

  constructor(extent: ExtentAccess, format: TreeFormat, keys: KeyCodec<K>, values: ValueCodec) {
    this.#store = new PageStore(extent, format);
    this.#tree = new MapTree(this.#store);
    this.#keys = keys;
    this.#values = values;
  }

  get(key: K): MaybePromise<V | undefined> {
    return this.#read(key, this.#get);
  }

  readonly #get = (key: Bytes, length: number): V | undefined => {
    const tree = this.#tree;
    if (!tree.find(key, length)) return undefined;
    return this.#values.decode(tree.value, tree.valueStart, tree.valueEnd) as V;
  };

  has(key: K): MaybePromise<boolean> {
    return this.#read(key, this.#has);
  }

  readonly #has = (key: Bytes, length: number): boolean => this.#tree.has(key, length);

  #read<T>(key: K, look: (key: Bytes, length: number) => T): MaybePromise<T> {
    const length = this.#keys.encode(key);
    const bytes = this.#store.isImmediate ? keyBuffer : keyBuffer.slice(0, length);
    return this.#store.read(() => look(bytes, length));
  }

  set(key: K, value: V): MaybePromise<void> {
    let encoded = this.#values.encode(value);
    const length = this.#keys.encode(key);
    let bytes = keyBuffer;
    if (!this.#store.isImmediate) {
      bytes = bytes.slice(0, length);
      encoded = copyOf(encoded);
    }
    return this.#store.update(() => void this.#tree.set(bytes, length, encoded));
  }

  update(key: K, change: (value: V | undefined) => V | undefined): MaybePromise<V | undefined> {
    // Memory of its own only where the key could change meanwhile, or has to outlive the call.
    const { isImmediate } = this.#store;
    const isShared = isImmediate && typeof key !== "object";
    const length = this.#keys.encode(key);
    // An operation that waits for a page runs again; `change` must not.
    const bytes = isShared ? keyBuffer : keyBuffer.slice(0, length);
    let changed: { readonly value: V | undefined; readonly encoded: Bytes | undefined } | undefined;
    return this.#store.update(() => {
      const tree = this.#tree;
      const old = this.#get(bytes, length);
      changed ??= this.#store.outside(() => {
        const value = change(old);
        const encoded = value === undefined ? undefined : this.#values.encode(value);
        return { value, encoded: isImmediate ? encoded : encoded && copyOf(encoded) };
      });
      const { value, encoded } = changed;
      if (isShared) this.#keys.encode(key); // `change` may have put another one there
      if (encoded !== undefined) tree.put(bytes, length, encoded);
      else if (old !== undefined) tree.delete(bytes, length);
      return value;
    });
  }

  delete(key: K): MaybePromise<boolean> {
    const length = this.#keys.encode(key);
    const bytes = this.#store.isImmediate ? keyBuffer : keyBuffer.slice(0, length);
    return this.#store.update(() => this.#tree.delete(bytes, length));
  }

  size(): MaybePromise<number> {
    return this.#store.read(() => this.#store.header.counters[ENTRIES] as number);
  }

  first(): Promise<[K, V] | undefined> {
    return this.#one({ limit: 1 });
  }

  last(): Promise<[K, V] | undefined> {
    return this.#one({ limit: 1, reverse: true });
  }

  async #one(options: RangeOptions<K>): Promise<[K, V] | undefined> {
    for await (const entry of this.range(options)) return entry;
    return undefined;
  }

  range(options: RangeOptions<K> = {}): AsyncIterableIterator<[K, V]> {
    const from = options.from === undefined ? NOTHING : this.#ownKey(options.from);
    const to = options.to === undefined ? undefined : this.#ownKey(options.to);
    return this.#entries({ from, to }, options);
  }

  prefix(
    prefix: K,
    options: Pick<RangeOptions<K>, "limit" | "reverse"> = {},
  ): AsyncIterableIterator<[K, V]> {
    if (typeof prefix !== "string" && !(prefix instanceof Uint8Array))
      throw new PinionError("invalid-argument", "only strings and bytes have prefixes");
    const from = this.#ownKey(prefix);
    return this.#entries({ from, to: afterPrefix(from) }, options);
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<[K, V]> {
    return this.range();
  }

  #ownKey(key: K): Bytes {
    return keyBuffer.slice(0, this.#keys.encode(key));
  }

  async *#entries(
    range: KeyRange,
    { limit = Infinity, reverse = false }: Pick<RangeOptions<K>, "limit" | "reverse">,
  ): AsyncGenerator<[K, V]> {
    const walk = new LeafWalk(this.#store, range, reverse);
    for (let left = limit; left > 0;) {
      const leaf = await walk.next();
      if (leaf === undefined) return;
      for (let i = leaf.from; i < leaf.to && left > 0; i++) {
        const slot = reverse ? leaf.from + leaf.to - 1 - i : i;
        const key = keyAt(leaf.bytes, slot);
        const { start, end, run } = storedValue(leaf.bytes, slot);
        let value: V | undefined;
        if (run === undefined) {
          value = this.#values.decode(leaf.bytes, start, end) as V;
        } else {
          // The leaf is a copy: by now the run may be another's. Long values are looked up again.
          value = await this.#store.read(() => this.#get(key, key.length));
          if (value === undefined) continue;
        }
        left--;
        yield [this.#keys.decode(key), value];
      }
    }
  }

  verify(): Promise<TreeReport> {
    return verifyTree(this.#store);
  }
}
