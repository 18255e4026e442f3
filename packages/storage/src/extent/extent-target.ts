/** One extent as the pin manager drives it (residency/pin-types.ts, `PinTarget`): into the arena, locked, and out of it again. */
import { isPinionError, PinionError, type Clock } from "@pinion/core";
import { CHUNK_BYTES, type LockDenial, type RangePlacement } from "../memory/memory-door.ts";
import type { DataKind } from "../residency/numa-policy.ts";
import type { PageUse } from "../residency/page-size.ts";
import type {
  LoadReport,
  LoadRequest,
  MemoryProfile,
  PinKey,
  PinTarget,
} from "../residency/pin-types.ts";
import type { Arena } from "./arena.ts";
import { arenaBytesFor, ArenaMemory } from "./arena-memory.ts";
import type { ExtentImage } from "./extent-image.ts";

/** Structures that are mostly read from one end to the other; the rest are read here and there. */
const SCANNED: ReadonlySet<string> = new Set(["column", "log", "blob"]);
/** A piece of an extent that moves between two looks at whether a turn has begun: 4 ms. */
const MOVED_AT_ONCE = 16 * 1024 * 1024;

/** Too much is under way: another time. */
function unlessOverloaded(e: unknown): undefined {
  if (!isPinionError(e, "overloaded")) throw e;
  return undefined;
}

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
  readonly #profile: MemoryProfile;
  readonly #breathe: () => Promise<void>;
  readonly #adjacent: () => Iterable<Adjacent>;

  /** @param adjacent what it is connected with, the strongest first */
  constructor(
    owner: { readonly actor: string; readonly type?: string },
    image: ExtentImage,
    profile: MemoryProfile,
    arena: Arena,
    clock: Clock,
    adjacent: () => Iterable<Adjacent>,
  ) {
    this.#profile = profile;
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

  get dataKind(): DataKind {
    // Small ones share their chunk with others.
    if (this.bytes < CHUNK_BYTES) return "shared-metadata";
    return this.#profile === "cold" ? "cold" : "hot-table";
  }

  get pageUse(): PageUse {
    if (this.bytes < CHUNK_BYTES) return "metadata";
    return SCANNED.has(this.image.identity.kind) ? "scan" : "tree";
  }

  async load({ placing }: LoadRequest, signal: AbortSignal): Promise<LoadReport> {
    signal.throwIfAborted();
    const memory = await ArenaMemory.allocate(this.#arena, this.image.lengthBytes, placing);
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
    const { policyDenied } = memory.block;
    const missed = placing.reservedPageBytes !== undefined && !memory.isReserved;
    return {
      ...(policyDenied === undefined ? {} : { numaShortfall: `refused: ${policyDenied}` }),
      ...(missed ? { pageShortfall: "the reserved pages were taken" } : {}),
    };
  }

  async lock(): Promise<LockDenial | undefined> {
    return this.#current()?.lock();
  }

  get unlockedGrowth(): LockDenial | undefined {
    return this.#current()?.unlockedGrowth;
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

  async measure(): Promise<RangePlacement | undefined> {
    return this.#current()?.block.measure().catch(unlessOverloaded);
  }

  async move(node: number): Promise<number | undefined> {
    const block = this.#current()?.block;
    let there: number | undefined;
    for (let at = 0; block !== undefined && at < block.committedBytes; at += MOVED_AT_ONCE) {
      // A turn may begin at any time: it waits for the page that it touches at most.
      if (this.references > 0 || this.#current()?.block !== block) break;
      const moved = await block.moveTo(at, MOVED_AT_ONCE, node).catch(unlessOverloaded);
      if (moved === undefined) return undefined;
      there = (there ?? 0) + moved;
    }
    return there ?? 0;
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
