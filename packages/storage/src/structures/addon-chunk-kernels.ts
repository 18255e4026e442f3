/** Cuts and hashes of chunks by the addon (native/chunks.c). */
import type { ChunkAddon } from "../memory/chunk-addon.ts";
import { loadAddon } from "../memory/open-native-door.ts";
import {
  checkCut,
  checkPlaces,
  checkTicket,
  javascriptChunkKernels,
  type ChunkKernels,
} from "./chunk-kernels.ts";

export class AddonChunkKernels implements ChunkKernels {
  readonly #addon: ChunkAddon;

  constructor(addon: ChunkAddon) {
    this.#addon = addon;
  }

  cut(bytes: Uint8Array, start: number, end: number, scanned: number): number {
    checkCut(bytes, start, end, scanned);
    return this.#addon.cut(bytes, start, end, scanned);
  }

  /** Without instructions of the processor for it, what Node has is the fastest. */
  hash(memory: Uint8Array, places: Uint32Array, count: number): void {
    if (!this.#addon.hasHashes) return javascriptChunkKernels.hash(memory, places, count);
    checkPlaces(memory, places, count);
    this.#addon.hash(memory, places, count);
  }

  hashLater(
    memory: Uint8Array,
    places: Uint32Array,
    count: number,
    ticket: number,
  ): Promise<void> | undefined {
    if (!this.#addon.hasHashes) return undefined;
    checkPlaces(memory, places, count);
    checkTicket(memory, places, count);
    return this.#addon.hashLater(memory, places, count, ticket);
  }
}

let kernels: ChunkKernels | undefined;

/** The fastest this thread has; every caller gets the same ones. */
export function chunkKernels(): ChunkKernels {
  return (kernels ??= openKernels());
}

function openKernels(): ChunkKernels {
  const addon = loadAddon();
  return typeof addon === "string" ? javascriptChunkKernels : new AddonChunkKernels(addon.chunks);
}
