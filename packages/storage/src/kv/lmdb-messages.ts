/** What `LmdbKv` and its thread say to each other. */
import type { PackedBytes } from "./packed-bytes.ts";

export interface LmdbThreadData {
  readonly path: string;
}

export interface CommitSlice {
  readonly tables: readonly string[];
  /** For each write the index of its table. */
  readonly tableOf: Uint8Array<ArrayBuffer>;
  /** Key and value in turn. */
  readonly writes: PackedBytes;
}

export type LmdbRequest =
  /** The first request; if it fails, only `close` makes sense after it. */
  | { readonly kind: "open" }
  | {
      readonly kind: "get";
      readonly tables: readonly string[];
      /** For each key the index of its table. */
      readonly tableOf: Uint8Array<ArrayBuffer>;
      readonly keys: PackedBytes;
    }
  | {
      readonly kind: "range";
      readonly table: string;
      readonly from: Uint8Array | undefined;
      readonly to: Uint8Array | undefined;
      readonly limit: number;
      readonly reverse: boolean;
    }
  | { readonly kind: "commit"; readonly slices: readonly CommitSlice[] }
  | { readonly kind: "close" };

export interface LmdbFailure {
  readonly message: string;
  /** "ENOSPC", "MDB_CORRUPTED" …; undefined when LMDB gave no number. */
  readonly code: string | undefined;
}

/** Answers come in the order of the requests. */
export type LmdbResponse =
  | { readonly values: PackedBytes | undefined }
  | { readonly failure: LmdbFailure };
