/** One extent as the pin manager drives it (residency/pin-types.ts, `PinTarget`): into the arena, locked, and out of it again. */
import { PinionError, type Clock } from "@pinion/core";
import type { LockDenial } from "../memory/memory-door.ts";
import type { LoadRequest, PinKey, PinTarget, Placement } from "../residency/pin-types.ts";
import type { Arena } from "./arena.ts";
import { arenaBytesFor, ArenaMemory } from "./arena-memory.ts";
import type { ExtentImage } from "./extent-image.ts";

interface Adjacent {
  readonly key: PinKey;
  readonly target: PinTarget;
}

export class ExtentTarget implements PinTarget {
  readonly owner: string;
  readonly type?: string;
  readonly image: ExtentImage;
  readonly #arena: Arena;
  /** What `load` brought; the image may have grown out of it since. */
  #memory: ArenaMemory | undefined;
  #hugePages = false;
  readonly #breathe: () => Promise<void>;
  readonly #adjacent: () => Iterable<Adjacent>;

  /** @param adjacent what it is connected with, the strongest first */
  constructor(
    owner: { readonly actor: string; readonly type?: string },
    image: ExtentImage,
    arena: Arena,
    clock: Clock,
    adjacent: () => Iterable<Adjacent>,
  ) {
    this.#breathe = () => new Promise((resolve) => clock.defer(resolve));
    this.#adjacent = adjacent;
    this.owner = owner.actor;
    if (owner.type !== undefined) this.type = owner.type;
    this.image = image;
    this.#arena = arena;
  }

  get bytes(): number {
    return arenaBytesFor(this.image.lengthBytes);
  }

  get references(): number {
    return this.image.references.count;
  }

  async load({ hugePages, numaNode }: LoadRequest, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const memory = await ArenaMemory.allocate(this.#arena, this.image.lengthBytes, {
      hugePages,
      numaNode,
    });
    let kept = false;
    try {
      kept = await this.image.load(memory, (_, stored, count) =>
        memory.fill(stored, count, signal),
      );
      if (!kept)
        throw new PinionError("overloaded", "the extent changed too much while it was loaded");
    } finally {
      if (!kept) memory.release();
    }
    this.#memory = memory;
    this.#hugePages = hugePages;
  }

  async lock(): Promise<LockDenial | undefined> {
    return this.#current()?.lock();
  }

  unlock(): void {
    this.#current()?.unlock();
  }

  async drop(): Promise<void> {
    const memory = await this.image.retire(this.#breathe);
    await this.image.references.whenNone();
    memory?.release();
    this.#memory = undefined;
  }

  placement(): Placement {
    const block = this.#current()?.block;
    const bytesByNode = block?.bytesByNode();
    // The kernel says for whole mappings only how much of them is huge; what was asked for and committed in chunks is the nearest there is.
    return { hugeBytes: this.#hugePages ? undefined : 0, bytesByNode };
  }

  *adjacent(count: number): Iterable<Adjacent> {
    let left = count;
    for (const each of this.#adjacent()) {
      if (left-- <= 0) return;
      yield each;
    }
  }

  /** The block the image is in now. */
  #current(): ArenaMemory | undefined {
    const memory = this.image.heldMemory;
    if (memory instanceof ArenaMemory) this.#memory = memory;
    return this.image.resident ? this.#memory : undefined;
  }
}
