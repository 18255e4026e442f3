/** What native/chunks.c exports; structures/addon-chunk-kernels.ts says what it is for. It checks types and places, and throws a TypeError. */

/** `places`: for each chunk where its hash goes, where it begins, its length; all in `memory`, of at most 64 chunks. */
export interface ChunkAddon {
  /** The processor has instructions for SHA-256; without them `hash` and `hashLater` throw. */
  readonly hasHashes: boolean;
  /** @returns the end of the chunk that begins at `start`; −1: `end` comes first */
  cut(bytes: Uint8Array, start: number, end: number, scanned: number): number;
  hash(memory: Uint8Array, places: Uint32Array, count: number): void;
  /** The same off the event loop, if `memory` begins with the ticket by then. `memory` must not be detached until it has ended. */
  hashLater(memory: Uint8Array, places: Uint32Array, count: number, ticket: number): Promise<void>;
}
