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
import { dataViewOf, getU64, putU64, u64Bytes, zeroBytes, type Steps } from "./structure.ts";

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

function digitOf(key: HashKey, level: number): number {
  return ((level < 8 ? key.high : key.low) >>> (28 - 4 * (level & 7))) & 15;
}

/** A leaf, how one came to it, and where the pointer to it is: undefined in the header. */
interface Found {
  readonly offset: number;
  readonly leaf: DataView;
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
    const count = leaf.getUint16(4, true);
    for (let i = 0, at = HEADER_BYTES; i < count; i++, at += ENTRY_BYTES) {
      if (leaf.getUint32(at, true) === key.high && leaf.getUint32(at + 4, true) === key.low)
        offsets.push(getU64(leaf, at + 8));
    }
    return offsets;
  }

  *insert(key: HashKey, offset: number): Steps<void> {
    for (;;) {
      const found = yield* this.#descend(key);
      const bytes = zeroBytes(ENTRY_BYTES);
      const entry = dataViewOf(bytes);
      entry.setUint32(0, key.high, true);
      entry.setUint32(4, key.low, true);
      putU64(entry, 8, offset);
      if (found.offset === 0) {
        return yield* this.#point(found.pointer, yield* this.#newLeaf(LEAF_BYTES_MIN, bytes));
      }
      const room = found.leaf.getUint32(0, true);
      const count = found.leaf.getUint16(4, true);
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
    const count = leaf.getUint16(4, true);
    const byteCount = leaf.getUint32(0, true);
    for (let i = 0; i < count; i++) {
      if (getU64(leaf, HEADER_BYTES + i * ENTRY_BYTES + 8) !== offset) continue;
      if (count === 1) {
        yield* this.#point(pointer, 0);
        yield* this.#layout.release({ offset: at, byteCount });
      } else {
        const last = HEADER_BYTES + (count - 1) * ENTRY_BYTES;
        const moved = new Uint8Array(leaf.buffer, leaf.byteOffset + last, ENTRY_BYTES).slice();
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
      const count = node.getUint16(4, true);
      left -= 1 + count;
      if (left < 0) throw this.#layout.damaged("an index that leads back to itself", offset);
      if (node.getUint16(6, true) === BRANCH) {
        for (let i = 0; i < FANOUT; i++) {
          const below = getU64(node, HEADER_BYTES + i * 8);
          if (below !== 0) open.push(below);
        }
        continue;
      }
      for (let i = 0; i < count; i++)
        offsets.push(getU64(node, HEADER_BYTES + i * ENTRY_BYTES + 8));
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
      const node = yield* this.#node(offset);
      if (node.getUint16(6, true) === LEAF) return { offset, leaf: node, level, pointer };
      if (level === LEVELS_MAX) break;
      const at = HEADER_BYTES + digitOf(key, level) * 8;
      pointer = offset + at;
      offset = getU64(node, at);
    }
    throw this.#layout.damaged("an index of more levels than there can be", offset);
  }

  *#node(offset: number): Steps<DataView> {
    // Nearly always all of it at once; a longer room only where a free one was a little longer.
    const left = this.#layout.extent.lengthBytes - offset;
    const byteCount = Math.max(HEADER_BYTES, Math.min(LEAF_BYTES_MAX, left));
    const node = dataViewOf(yield* this.#layout.read(offset, byteCount, "an index"));
    const room = node.getUint32(0, true);
    const kind = node.getUint16(6, true);
    const used = HEADER_BYTES + node.getUint16(4, true) * ENTRY_BYTES;
    const good = kind === LEAF ? used <= room : kind === BRANCH && byteCount >= BRANCH_BYTES;
    if (!good || room > ROOM_BYTES_MAX) throw this.#layout.damaged(`no index at ${offset}`, offset);
    if (kind === BRANCH || used <= byteCount) return node;
    return dataViewOf(yield* this.#layout.read(offset, used, "an index"));
  }

  *#growLeaf({ offset, leaf, level, pointer }: Found): Steps<void> {
    const byteCount = leaf.getUint32(0, true);
    const entriesBytes = leaf.getUint16(4, true) * ENTRY_BYTES;
    const at = leaf.byteOffset + HEADER_BYTES;
    const entries = new Uint8Array(leaf.buffer, at, entriesBytes).slice();
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

const NO_LEAF = new DataView(new ArrayBuffer(HEADER_BYTES));
