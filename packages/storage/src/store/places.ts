/** Where things lie in a shard's directory: tables one after the other, the name and a NUL before each key. */

export const DIRECTORY_VOLUME = 1;
/** Of volumes that are not named in the root record: u32 volume, big endian → open-volumes.ts. Not for users of the key-value port. */
export const VOLUMES_TABLE = "volumes";

export function placeOf(table: string, key: Uint8Array): Buffer {
  const place = Buffer.allocUnsafe(table.length + 1 + key.length);
  place.write(table, "latin1");
  place[table.length] = 0;
  place.set(key, table.length + 1);
  return place;
}

/** The first place behind a table. */
export function endOf(table: string): Buffer {
  const end = placeOf(table, new Uint8Array(0));
  end[table.length] = 1;
  return end;
}

export function volumeKey(volume: number): Uint8Array {
  const key = Buffer.alloc(4);
  key.writeUInt32BE(volume);
  return key;
}
