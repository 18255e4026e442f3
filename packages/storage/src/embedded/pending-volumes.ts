/**
 * What the log says of volumes behind the newest checkpoint, as far as no open volume has it: found at a start, kept until a checkpoint
 * has it.
 */
import type { Lsn } from "@pinion/core";
import type { LoggedDelta } from "../extent/actor-extents.ts";

export interface PendingVolume {
  /** What the store has of it is gone. */
  readonly deleted: boolean;
  /** What came after, in order; nothing for a volume that is deleted. */
  readonly deltas: LoggedDelta[];
  lsn: Lsn;
}

export class PendingVolumes {
  readonly #volumes = new Map<string, PendingVolume>();
  #bytes = 0;

  get size(): number {
    return this.#volumes.size;
  }

  /** Of all changes together. */
  get byteCount(): number {
    return this.#bytes;
  }

  get(name: string): PendingVolume | undefined {
    return this.#volumes.get(name);
  }

  entries(): [string, PendingVolume][] {
    return [...this.#volumes];
  }

  /** @param bytes kept as they are */
  updated(name: string, lsn: Lsn, bytes: Uint8Array): void {
    let volume = this.#volumes.get(name);
    if (volume === undefined) {
      volume = { deleted: false, deltas: [], lsn };
      this.#volumes.set(name, volume);
    }
    volume.deltas.push({ lsn, bytes });
    volume.lsn = lsn;
    this.#bytes += bytes.length;
  }

  deleted(name: string, lsn: Lsn): void {
    this.#remove(name);
    this.#volumes.set(name, { deleted: true, deltas: [], lsn });
  }

  /** A checkpoint has what was pending then. @param but what it could not take */
  checkpointed(
    entries: readonly [string, PendingVolume][],
    but: readonly { readonly name: string }[],
  ): void {
    const staying = new Set(but.map(({ name }) => name));
    for (const [name, volume] of entries)
      if (!staying.has(name) && this.#volumes.get(name) === volume) this.#remove(name);
  }

  #remove(name: string): void {
    for (const { bytes } of this.#volumes.get(name)?.deltas ?? []) this.#bytes -= bytes.length;
    this.#volumes.delete(name);
  }
}
