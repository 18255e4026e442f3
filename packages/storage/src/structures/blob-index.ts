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
import { dataViewOf, putU64, u64Bytes, zeroBytes, type Steps } from "./structure.ts";

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

function entryBytes({ high, low }: HashKey, offset: number): Uint8Array {
  const above = Math.floor(offset / 2 ** 32);
  return Uint8Array.of(
    high,
    high >>> 8,
    high >>> 16,
    high >>> 24,
    low,
    low >>> 8,
    low >>> 16,
    low >>> 24,
    offset,
    offset >>> 8,
    offset >>> 16,
    offset >>> 24,
    above,
    above >>> 8,
    above >>> 16,
    above >>> 24,
  );
}

function digitOf(key: HashKey, level: number): number {
  return ((level < 8 ? key.high : key.low) >>> (28 - 4 * (level & 7))) & 15;
}

/** A leaf, how one came to it, and where the pointer to it is: undefined in the header. */
interface Found {
  readonly offset: number;
  readonly leaf: Uint8Array;
  readonly level: number;
  readonly pointer: number | undefined;
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
  *find(key: HashKey): Steps<number[]> {
    const found = yield* this.#descend(key);
    const offsets: number[] = [];
    if (found.offset === 0) return offsets;
    const { leaf } = found;
    const count = u16At(leaf, 4);
    for (let i = 0, at = HEADER_BYTES; i < count; i++, at += ENTRY_BYTES) {
      if (u32At(leaf, at) === key.high && u32At(leaf, at + 4) === key.low)
        offsets.push(u64At(leaf, at + 8));
    }
    return offsets;
  }

  *insert(key: HashKey, offset: number): Steps<void> {
    for (;;) {
      const found = yield* this.#descend(key);
      const bytes = entryBytes(key, offset);
      if (found.offset === 0) {
        return yield* this.#point(found.pointer, yield* this.#newLeaf(LEAF_BYTES_MIN, bytes));
      }
      const room = u32At(found.leaf, 0);
      const count = u16At(found.leaf, 4);
      const end = HEADER_BYTES + count * ENTRY_BYTES;
      if (end + ENTRY_BYTES <= room) {
        yield* this.#layout.write(found.offset + end, bytes);
        return yield* this.#setCount(found.offset, count + 1);
      }
      yield* this.#growLeaf(found);
    }
  }

  /** @returns whether there was one */
  *remove(key: HashKey, offset: number): Steps<boolean> {
    const { offset: at, leaf, pointer } = yield* this.#descend(key);
    if (at === 0) return false;
    const count = u16At(leaf, 4);
    const byteCount = u32At(leaf, 0);
    for (let i = 0; i < count; i++) {
      if (u64At(leaf, HEADER_BYTES + i * ENTRY_BYTES + 8) !== offset) continue;
      if (count === 1) {
        yield* this.#point(pointer, 0);
        yield* this.#layout.release({ offset: at, byteCount });
      } else {
        const last = HEADER_BYTES + (count - 1) * ENTRY_BYTES;
        const moved = leaf.slice(last, last + ENTRY_BYTES);
        yield* this.#layout.write(at + HEADER_BYTES + i * ENTRY_BYTES, moved);
        yield* this.#setCount(at, count - 1);
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
      const count = u16At(node, 4);
      left -= 1 + count;
      if (left < 0) throw this.#layout.damaged("an index that leads back to itself", offset);
      if (u16At(node, 6) === BRANCH) {
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

  /** The leaf where the key belongs; offset 0: there is none yet. Who inserts has just looked. */
  *#descend(key: HashKey): Steps<Found> {
    const { generation } = this.#layout.extent;
    if (this.#last?.key === key && this.#last.generation === generation) return this.#last.found;
    const found = yield* this.#leafOf(key);
    this.#last = { key, generation, found };
    return found;
  }

  *#leafOf(key: HashKey): Steps<Found> {
    let offset = this.#layout.get(this.#root);
    let pointer: number | undefined;
    for (let level = 0; level <= LEVELS_MAX; level++) {
      if (offset === 0) return { offset, leaf: NO_LEAF, level, pointer };
      const node = this.#nodeNow(offset) ?? (yield* this.#node(offset));
      if (u16At(node, 6) === LEAF) return { offset, leaf: node, level, pointer };
      if (level === LEVELS_MAX) break;
      const at = HEADER_BYTES + digitOf(key, level) * 8;
      pointer = offset + at;
      offset = u64At(node, at);
    }
    throw this.#layout.damaged("an index of more levels than there can be", offset);
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
    const room = u32At(node, 0);
    const kind = u16At(node, 6);
    const used = HEADER_BYTES + u16At(node, 4) * ENTRY_BYTES;
    const good = kind === LEAF ? used <= room : kind === BRANCH && node.length >= BRANCH_BYTES;
    if (!good || room > ROOM_BYTES_MAX) throw this.#layout.damaged(`no index at ${offset}`, offset);
    return kind === LEAF ? used : BRANCH_BYTES;
  }

  *#growLeaf({ offset, leaf, level, pointer }: Found): Steps<void> {
    const byteCount = u32At(leaf, 0);
    const entriesBytes = u16At(leaf, 4) * ENTRY_BYTES;
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
    yield* this.#layout.write(room.offset, bytes);
  }

  *#setCount(offset: number, count: number): Steps<void> {
    yield* this.#layout.write(offset + 4, Uint8Array.of(count & 0xff, count >>> 8));
  }

  *#point(pointer: number | undefined, offset: number): Steps<void> {
    if (pointer === undefined) return this.#layout.set(this.#root, offset);
    yield* this.#layout.write(pointer, u64Bytes(offset));
  }
}

const NO_LEAF = new Uint8Array(HEADER_BYTES);

// By hand: a view of each node that is looked at would cost more than all that is read of it.
const u16At = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
const u32At = (bytes: Uint8Array, at: number): number =>
  (u16At(bytes, at) | (u16At(bytes, at + 2) << 16)) >>> 0;
const u64At = (bytes: Uint8Array, at: number): number =>
  u32At(bytes, at + 4) * 2 ** 32 + u32At(bytes, at);
