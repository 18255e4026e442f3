/**
 * Hash → offset, in as many rooms as it takes: a tree over the bits of a hash, four at each level. Little endian. A leaf, of 256, 512, …
 * 4,096 bytes:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 4 | bytes of its room |
 * | 4 | 2 | entries |
 * | 6 | 2 | 1: leaf |
 * | 8 | 16 × entries | first 8 bytes of the hash, u64 offset |
 *
 * A branch:
 *
 * | 0 | 4 | bytes of its room |
 * | 4 | 2 | 0 |
 * | 6 | 2 | 2: branch |
 * | 8 | 8 × 16 | offsets of what lies below, 0: nothing |
 *
 * T1 a full leaf moves into a room of twice the size; one of 4 KiB becomes a branch with up to sixteen leaves. Branches stay.
 * T2 several entries may have the same eight bytes: whoever looks them up compares the whole.
 * T3 hashes are evenly spread, so the tree is low: 2^28 entries are five levels. There are at most sixteen.
 */
import { ROOM_BYTES_MAX, type BlobField, type BlobLayout, type Room } from "./blob-layout.ts";
import { u16, u32 } from "./map-node.ts";
import { dataViewOf, putU64, settle, u64Bytes, zeroBytes, type Steps } from "./structure.ts";

const HEADER_BYTES = 8;
const ENTRY_BYTES = 16;
const LEAF = 1;
const BRANCH = 2;
const FANOUT = 16;
const BRANCH_BYTES = HEADER_BYTES + FANOUT * 8;
const LEAF_BYTES_MIN = 256;
const LEAF_BYTES_MAX = 4096;
const LEVELS_MAX = 16;

/** The first eight bytes of a hash, as two words. */
export interface HashKey {
  readonly high: number;
  readonly low: number;
}

/** @param at where the hash begins */
export function keyOf(bytes: DataView, at: number): HashKey {
  return { high: bytes.getUint32(at, true), low: bytes.getUint32(at + 4, true) };
}

/** What is written next, which copies it: an entry, and a count. */
const entry = new Uint8Array(ENTRY_BYTES);
const entryView = dataViewOf(entry);
const countBytes = new Uint8Array(2);

/** Good until the next one. */
function entryBytes({ high, low }: HashKey, offset: number): Uint8Array {
  entryView.setUint32(0, high, true);
  entryView.setUint32(4, low, true);
  putU64(entryView, 8, offset);
  return entry;
}

function digitOf(key: HashKey, level: number): number {
  return ((level < 8 ? key.high : key.low) >>> (28 - 4 * (level & 7))) & 15;
}

/** A leaf, at which level, and where the pointer to it is: undefined in the header. Offset 0: there is none yet. */
interface Found {
  readonly offset: number;
  readonly leaf: Uint8Array;
  readonly level: number;
  readonly pointer: number | undefined;
}

/** On the way down to it. */
interface Way {
  offset: number;
  leaf: Uint8Array;
  level: number;
  pointer: number | undefined;
  arrived: boolean;
}

export class BlobIndex {
  readonly #layout: BlobLayout;
  readonly #root: BlobField;
  /** What was found last, as long as nothing was written since. */
  #last: { readonly key: HashKey; readonly generation: number; readonly found: Found } | undefined;

  constructor(layout: BlobLayout, root: "chunkRoot" | "nameRoot") {
    this.#layout = layout;
    this.#root = root;
  }

  /** Offsets of the entries with this key (T2). */
  *find(key: HashKey): Steps<readonly number[]> {
    return offsetsIn(yield* this.#descend(key), key);
  }

  /** As `find`; undefined: what leads there is not in memory. */
  findNow(key: HashKey): readonly number[] | undefined {
    const found = this.#descendNow(key);
    return found && offsetsIn(found, key);
  }

  /** @returns undefined if it is done, as nearly always; otherwise the steps that do it */
  insert(key: HashKey, offset: number): Steps<void> | undefined {
    const found = this.#descendNow(key);
    if (found === undefined || !hasRoom(found)) return this.#insert(key, offset);
    const written = this.#add(found, key, offset);
    return written && settle(written);
  }

  *#insert(key: HashKey, offset: number): Steps<void> {
    for (;;) {
      const found = yield* this.#descend(key);
      if (hasRoom(found)) return yield* settle(this.#add(found, key, offset));
      if (found.offset === 0) {
        const entries = entryBytes(key, offset).slice();
        return yield* this.#point(found.pointer, yield* this.#newLeaf(LEAF_BYTES_MIN, entries));
      }
      yield* this.#growLeaf(found);
    }
  }

  /** To a leaf with room. */
  #add({ offset: at, leaf }: Found, key: HashKey, offset: number): Promise<void> | undefined {
    const count = u16(leaf, 4);
    const end = at + HEADER_BYTES + count * ENTRY_BYTES;
    const written = this.#layout.write(end, entryBytes(key, offset));
    if (written !== undefined) return written.then(() => this.#setCount(at, count + 1));
    return this.#setCount(at, count + 1);
  }

  /** @returns whether there was one */
  *remove(key: HashKey, offset: number): Steps<boolean> {
    const { offset: at, leaf, pointer } = yield* this.#descend(key);
    if (at === 0) return false;
    const count = u16(leaf, 4);
    const byteCount = u32(leaf, 0);
    for (let i = 0; i < count; i++) {
      if (u64At(leaf, HEADER_BYTES + i * ENTRY_BYTES + 8) !== offset) continue;
      if (count === 1) {
        yield* this.#point(pointer, 0);
        yield* this.#layout.release({ offset: at, byteCount });
      } else {
        const last = HEADER_BYTES + (count - 1) * ENTRY_BYTES;
        const moved = leaf.slice(last, last + ENTRY_BYTES);
        yield* settle(this.#layout.write(at + HEADER_BYTES + i * ENTRY_BYTES, moved));
        yield* settle(this.#setCount(at, count - 1));
      }
      return true;
    }
    return false;
  }

  /** Offsets of all entries, in no order that means anything. */
  *all(): Steps<number[]> {
    const offsets: number[] = [];
    // More nodes and entries than could fit into the extent are a circle.
    let left = this.#layout.extent.lengthBytes / ENTRY_BYTES;
    const open = [this.#layout.get(this.#root)].filter((offset) => offset !== 0);
    for (let offset; (offset = open.pop()) !== undefined;) {
      const node = yield* this.#node(offset);
      const count = u16(node, 4);
      left -= 1 + count;
      if (left < 0) throw this.#layout.damaged("an index that leads back to itself", offset);
      if (u16(node, 6) === BRANCH) {
        for (let i = 0; i < FANOUT; i++) {
          const below = u64At(node, HEADER_BYTES + i * 8);
          if (below !== 0) open.push(below);
        }
        continue;
      }
      for (let i = 0; i < count; i++) offsets.push(u64At(node, HEADER_BYTES + i * ENTRY_BYTES + 8));
    }
    return offsets;
  }

  /** The leaf where the key belongs. */
  *#descend(key: HashKey): Steps<Found> {
    const now = this.#descendNow(key);
    if (now !== undefined) return now;
    const way = this.#begin();
    while (!way.arrived)
      this.#step(way, key, this.#nodeNow(way.offset) ?? (yield* this.#node(way.offset)));
    return this.#arrive(way, key);
  }

  /** As `#descend`; undefined: a node on the way is not in memory. Who inserts has just looked. */
  #descendNow(key: HashKey): Found | undefined {
    const { generation } = this.#layout.extent;
    if (this.#last?.key === key && this.#last.generation === generation) return this.#last.found;
    const way = this.#begin();
    while (!way.arrived) {
      const node = this.#nodeNow(way.offset);
      if (node === undefined) return undefined;
      this.#step(way, key, node);
    }
    return this.#arrive(way, key);
  }

  #begin(): Way {
    const offset = this.#layout.get(this.#root);
    return { offset, leaf: NO_LEAF, level: 0, pointer: undefined, arrived: offset === 0 };
  }

  #step(way: Way, key: HashKey, node: Uint8Array): void {
    if (u16(node, 6) === LEAF) {
      way.leaf = node;
      way.arrived = true;
      return;
    }
    if (way.level === LEVELS_MAX)
      throw this.#layout.damaged("an index of more levels than there can be", way.offset);
    const at = HEADER_BYTES + digitOf(key, way.level) * 8;
    way.pointer = way.offset + at;
    way.offset = u64At(node, at);
    way.level++;
    way.arrived = way.offset === 0;
  }

  #arrive(way: Way, key: HashKey): Found {
    this.#last = { key, generation: this.#layout.extent.generation, found: way };
    return way;
  }

  *#node(offset: number): Steps<Uint8Array> {
    const node = yield* this.#layout.read(offset, this.#likelyBytes(offset), "an index");
    const used = this.#checked(node, offset);
    return used <= node.length ? node : yield* this.#layout.read(offset, used, "an index");
  }

  /** As `#node`, if it is in memory. */
  #nodeNow(offset: number): Uint8Array | undefined {
    const node = this.#layout.readNow(offset, this.#likelyBytes(offset), "an index");
    if (node === undefined) return undefined;
    const used = this.#checked(node, offset);
    return used <= node.length ? node : this.#layout.readNow(offset, used, "an index");
  }

  /** Nearly always all of it; a longer room only where a free one was a little longer. */
  #likelyBytes(offset: number): number {
    const left = this.#layout.extent.lengthBytes - offset;
    return Math.max(HEADER_BYTES, Math.min(LEAF_BYTES_MAX, left));
  }

  /** @param node its first bytes @returns how many it has */
  #checked(node: Uint8Array, offset: number): number {
    const room = u32(node, 0);
    const kind = u16(node, 6);
    const used = HEADER_BYTES + u16(node, 4) * ENTRY_BYTES;
    const good = kind === LEAF ? used <= room : kind === BRANCH && node.length >= BRANCH_BYTES;
    if (!good || room > ROOM_BYTES_MAX) throw this.#layout.damaged(`no index at ${offset}`, offset);
    return kind === LEAF ? used : BRANCH_BYTES;
  }

  *#growLeaf({ offset, leaf, level, pointer }: Found): Steps<void> {
    const byteCount = u32(leaf, 0);
    const entriesBytes = u16(leaf, 4) * ENTRY_BYTES;
    const entries = leaf.slice(HEADER_BYTES, HEADER_BYTES + entriesBytes);
    const to =
      byteCount < LEAF_BYTES_MAX
        ? yield* this.#newLeaf(Math.min(LEAF_BYTES_MAX, byteCount * 2), entries)
        : yield* this.#newBranch(entries, level);
    yield* this.#point(pointer, to);
    yield* this.#layout.release({ offset, byteCount });
  }

  *#newLeaf(byteCount: number, entries: Uint8Array): Steps<number> {
    const room = yield* this.#layout.take(Math.max(byteCount, HEADER_BYTES + entries.length));
    yield* this.#writeNode(room, LEAF, entries.length / ENTRY_BYTES, entries);
    return room.offset;
  }

  *#newBranch(entries: Uint8Array, level: number): Steps<number> {
    if (level === LEVELS_MAX) throw this.#layout.damaged("more hashes alike than there can be", 0);
    const parts = Array.from({ length: FANOUT }, (): Uint8Array[] => []);
    for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
      const entry = entries.subarray(at, at + ENTRY_BYTES);
      const view = dataViewOf(entry);
      const key = { high: view.getUint32(0, true), low: view.getUint32(4, true) };
      parts[digitOf(key, level)]!.push(entry);
    }
    const below = new DataView(new ArrayBuffer(FANOUT * 8));
    for (let digit = 0; digit < FANOUT; digit++) {
      const part = Buffer.concat(parts[digit]!);
      if (part.length === 0) continue;
      let byteCount = LEAF_BYTES_MIN;
      while (byteCount < HEADER_BYTES + part.length) byteCount *= 2;
      putU64(below, digit * 8, yield* this.#newLeaf(byteCount, part));
    }
    const room = yield* this.#layout.take(BRANCH_BYTES);
    yield* this.#writeNode(room, BRANCH, 0, new Uint8Array(below.buffer));
    return room.offset;
  }

  *#writeNode(room: Room, kind: number, count: number, content: Uint8Array): Steps<void> {
    const bytes = zeroBytes(HEADER_BYTES + content.length);
    const view = dataViewOf(bytes);
    view.setUint32(0, room.byteCount, true);
    view.setUint16(4, count, true);
    view.setUint16(6, kind, true);
    bytes.set(content, HEADER_BYTES);
    yield* settle(this.#layout.write(room.offset, bytes));
  }

  #setCount(offset: number, count: number): Promise<void> | undefined {
    countBytes[0] = count;
    countBytes[1] = count >>> 8;
    return this.#layout.write(offset + 4, countBytes);
  }

  *#point(pointer: number | undefined, offset: number): Steps<void> {
    if (pointer === undefined) return this.#layout.set(this.#root, offset);
    yield* settle(this.#layout.write(pointer, u64Bytes(offset)));
  }
}

function hasRoom({ offset, leaf }: Found): boolean {
  const end = HEADER_BYTES + u16(leaf, 4) * ENTRY_BYTES;
  return offset !== 0 && end + ENTRY_BYTES <= u32(leaf, 0);
}

function offsetsIn({ offset, leaf }: Found, { high, low }: HashKey): readonly number[] {
  if (offset === 0) return NONE;
  let offsets: number[] | undefined;
  const end = HEADER_BYTES + u16(leaf, 4) * ENTRY_BYTES;
  const first = high & 0xff; // says no nearly always, and is one byte to look at instead of eight
  for (let at = HEADER_BYTES; at < end; at += ENTRY_BYTES) {
    if (leaf[at] !== first) continue;
    if (u32(leaf, at) === high && u32(leaf, at + 4) === low)
      (offsets ??= []).push(u64At(leaf, at + 8));
  }
  return offsets ?? NONE;
}

const NONE: readonly number[] = Object.freeze([]);
const NO_LEAF = new Uint8Array(HEADER_BYTES);

// By hand: a view of each node that is looked at would cost more than all that is read of it.
const u64At = (bytes: Uint8Array, at: number): number =>
  u32(bytes, at + 4) * 2 ** 32 + u32(bytes, at);
