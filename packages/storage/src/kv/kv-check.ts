/** Bounds every implementation of `KvStore` checks before it does anything, so that a mistake fails the same everywhere. */
import { PinionError } from "@pinion/core";
import { KV_KEY_BYTES_MAX, type KvRead } from "./kv-store.ts";

const TABLE = /^[A-Za-z0-9-]{1,64}$/;

/** @throws `invalid-argument` */
export function checkTable(table: string): void {
  if (!TABLE.test(table)) {
    throw new PinionError("invalid-argument", `table "${table}" must be 1 to 64 of A-Z a-z 0-9 -`, {
      details: { table },
    });
  }
}

/** @throws `invalid-argument` */
function checkKey(table: string, key: Uint8Array): void {
  if (key.length === 0 || key.length > KV_KEY_BYTES_MAX) {
    throw new PinionError(
      "invalid-argument",
      `a key of ${key.length} bytes in table "${table}": must be 1 to ${KV_KEY_BYTES_MAX}`,
      { details: { table, keyBytes: key.length } },
    );
  }
}

/** @throws `invalid-argument` */
export function checkPlaces(places: readonly KvRead[]): void {
  for (const { table, key } of places) {
    checkTable(table);
    checkKey(table, key);
  }
}
