/**
 * A list of byte strings as one buffer that can change threads without being copied: per entry a u32 length, little endian,
 * and the bytes; a length of 2^32 − 1 stands for "undefined".
 */

const ABSENT = 0xffff_ffff;

export type PackedBytes = Uint8Array<ArrayBuffer>;

export function packBytes(list: readonly (Uint8Array | undefined)[]): PackedBytes {
  let length = 0;
  for (const bytes of list) length += 4 + (bytes?.length ?? 0);
  const packed = new Uint8Array(length);
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const bytes of list) {
    view.setUint32(at, bytes?.length ?? ABSENT, true);
    at += 4;
    if (!bytes) continue;
    packed.set(bytes, at);
    at += bytes.length;
  }
  return packed;
}

/** The entries as views of `packed`. */
export function unpackBytes(packed: PackedBytes): (Uint8Array | undefined)[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
  const list: (Uint8Array | undefined)[] = [];
  for (let at = 0; at < packed.length;) {
    const length = view.getUint32(at, true);
    at += 4;
    if (length === ABSENT) list.push(undefined);
    else {
      list.push(packed.subarray(at, at + length));
      at += length;
    }
  }
  return list;
}
