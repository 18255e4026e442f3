/**
 * The volumes of a shard that somebody reads or writes, each once in memory, found by their number in the tree's table `volumes`.
 *
 * Value of an entry, little endian: u8 version 1, u8 height of the map, u16 0, entry of the map's root (16, page-entry.ts).
 *
 * O1 whoever holds a volume sees every checkpoint of it: there is never a second one with the same number.
 * O2 volumes that nobody holds are kept up to `IDLE_MAX`, with the parts of their maps that were looked at.
 */
import { PinionError } from "@pinion/core";
import { Volume, type PageReader } from "../page/volume.ts";
import type { VolumeRoot } from "../segment/batch-format.ts";
import { ENTRY_BYTES, getEntry, putEntry } from "../segment/page-entry.ts";

const VERSION = 1;
const ENTRY_AT = 4;
const IDLE_MAX = 64;

export function encodeVolume({ map }: VolumeRoot): Uint8Array {
  const bytes = new Uint8Array(ENTRY_AT + ENTRY_BYTES);
  bytes[0] = VERSION;
  bytes[1] = map.height;
  putEntry(new DataView(bytes.buffer), ENTRY_AT, map.entry);
  return bytes;
}

/** @throws `corruption` */
function decodeVolume(volume: number, bytes: Uint8Array): VolumeRoot {
  if (bytes.length !== ENTRY_AT + ENTRY_BYTES || bytes[0] !== VERSION) {
    throw new PinionError("corruption", `the entry of volume ${volume} cannot be understood`, {
      details: { volume },
    });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const map = { height: bytes[1] as number, entry: getEntry(view, ENTRY_AT) };
  return { volume, map, pageCount: 0, treeRoot: 0 };
}

interface Held {
  readonly volume: Volume;
  holders: number;
}

export class OpenVolumes {
  readonly #segments: PageReader;
  readonly #find: (volume: number) => Promise<Uint8Array | undefined>;
  readonly #held = new Map<number, Held>();
  /** The one let go longest ago first (O2). */
  readonly #idle = new Map<number, Volume>();
  readonly #loading = new Map<number, Promise<boolean>>();

  /** @param find reads the table's entry, as last published */
  constructor(segments: PageReader, find: (volume: number) => Promise<Uint8Array | undefined>) {
    this.#segments = segments;
    this.#find = find;
  }

  /** A volume as stored; undefined if there is none. Ends with `release`. @throws `corruption`, `io-error` */
  async hold(id: number): Promise<Volume | undefined> {
    for (;;) {
      const known = this.#take(id);
      if (known !== undefined) return known;
      // Others may have let it go again before this goes on, and more of them than are kept.
      if (!(await this.#load(id))) return undefined;
    }
  }

  /** A volume that is in memory, for a look at it now. */
  peek(id: number): Volume | undefined {
    return this.#held.get(id)?.volume ?? this.#idle.get(id);
  }

  /** As `hold`, of one that may not have been written yet. */
  async holdOrNew(id: number): Promise<Volume> {
    const known = await this.hold(id);
    if (known !== undefined) return known;
    const volume = this.#volume(id, undefined);
    this.#held.set(id, { volume, holders: 1 });
    return volume;
  }

  release(volume: Volume): void {
    const held = this.#held.get(volume.id);
    if (held?.volume !== volume || --held.holders > 0) return;
    this.#held.delete(volume.id);
    if (volume.map.root.entry !== undefined) this.#rest(volume);
  }

  /** The volume exists no more; who holds it reads nothing from it any more. */
  forget(id: number): void {
    this.#held.delete(id);
    this.#idle.delete(id);
  }

  #volume(id: number, root: VolumeRoot | undefined): Volume {
    return new Volume({ segments: this.#segments, volume: id, root, cachedPagesMax: 0 });
  }

  #take(id: number): Volume | undefined {
    const held = this.#held.get(id);
    if (held !== undefined) {
      held.holders++;
      return held.volume;
    }
    const volume = this.#idle.get(id);
    if (volume === undefined) return undefined;
    this.#idle.delete(id);
    this.#held.set(id, { volume, holders: 1 });
    return volume;
  }

  #rest(volume: Volume): void {
    this.#idle.set(volume.id, volume);
    for (const oldest of this.#idle.keys()) {
      if (this.#idle.size <= IDLE_MAX) return;
      this.#idle.delete(oldest);
    }
  }

  /** @returns false when there is no such volume. Shared by all who ask meanwhile, a checkpoint among them: it must not be overtaken by one (O1). */
  #load(id: number): Promise<boolean> {
    const loading = this.#loading.get(id);
    if (loading !== undefined) return loading;
    const load = this.#find(id)
      .then((entry) => {
        if (entry === undefined) return false;
        // Held by nobody yet: kept whatever else comes and goes until somebody takes it.
        this.#idle.set(id, this.#volume(id, decodeVolume(id, entry)));
        return true;
      })
      .finally(() => this.#loading.delete(id));
    this.#loading.set(id, load);
    return load;
  }
}
