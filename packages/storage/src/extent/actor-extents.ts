/**
 * The extents of one activation: which there are, in memory or on disk, and what of them a checkpoint has to write.
 *
 * A1 what a turn changes in several extents becomes their present together.
 * A2 extents that the definition does not name any more are kept: they come back with their names.
 * A3 an extent opens only as what it was stored as.
 */
import { PinionError, systemClock, type Clock, type Lsn, type ShardId } from "@pinion/core";
import type { ActorKey, ExtentChange, StateStore } from "../state/state-store.ts";
import { decodeDeltas } from "./extent-delta.ts";
import { connectionsOf, type ConnectedExtent } from "./connections.ts";
import { storedFacts } from "./extent-facts.ts";
import { ExtentImage } from "./extent-image.ts";
import { ExtentIndex } from "./extent-index.ts";
import { fillByPage, PAGE_BYTES } from "./extent-pages.ts";
import { ExtentsTurn, type UsedExtent } from "./extents-turn.ts";
import type { ExtentMemory, ExtentMemorySource } from "./extent-memory.ts";
import { capacityFor, type GrowthCap } from "./growth.ts";
import { LearnedLinks } from "./learned-links.ts";
import { applyLogged } from "./logged-changes.ts";
import type { UnwrittenPages } from "./unwritten-pages.ts";

/** Extents by name, as a definition declares them: what structure each holds, the version of its format that is written, and how it grows. */
export type ExtentDeclarations = Readonly<
  Record<string, { readonly kind: string; readonly version: number; readonly options?: GrowthCap }>
>;

export interface ExtentsOwner {
  readonly store: StateStore;
  readonly shard: ShardId;
  readonly actor: ActorKey;
  /** Told of what waits for a checkpoint. */
  readonly unwritten?: UnwrittenPages;
  /** For heat. */
  readonly clock?: Clock;
}

/** A turn's changes as the log has them. */
export interface LoggedDelta {
  readonly lsn: Lsn;
  readonly bytes: Uint8Array;
}

export interface HotExtentOfActor {
  readonly name: string;
  /** 0 … 1 (residency/heat.ts). */
  readonly heat: number;
}

/** Extents that one flagged `prefetch` brings in. */
export const CONNECTED_MAX = 8;
/** Of each of them, while it is not in memory as a whole: 64 KiB. */
const CONNECTED_PAGES = 16;

export class ActorExtents {
  readonly #owner: ExtentsOwner;
  readonly #images = new Map<string, ExtentImage>();
  #frozen: ExtentImage[] = [];
  /** What turns can reach, and find. */
  #declared: ReadonlySet<string> = new Set();
  #index: ExtentIndex | undefined;
  readonly #learned = new LearnedLinks();
  readonly #clock: Clock;

  private constructor(owner: ExtentsOwner) {
    this.#owner = owner;
    this.#clock = owner.clock ?? systemClock;
  }

  /**
   * Opens what is stored and applies what the log has later.
   * @param declared what a definition names; others are opened as they are found
   * @throws `corruption`, `format-too-new`, `io-error`
   */
  static async open(
    owner: ExtentsOwner,
    declared: ExtentDeclarations,
    later: readonly LoggedDelta[],
  ): Promise<ActorExtents> {
    const extents = new ActorExtents(owner);
    try {
      await extents.#open(declared, later);
    } catch (e) {
      extents.abandon();
      throw e;
    }
    return extents;
  }

  async #open(declared: ExtentDeclarations, later: readonly LoggedDelta[]): Promise<void> {
    const { store, shard, actor, unwritten } = this.#owner;
    for (const stored of await store.loadExtents(shard, actor)) {
      const facts = storedFacts(actor, stored.name, stored.facts);
      const pages = await store.extentPages(shard, stored);
      const image = new ExtentImage(stored, stored.lengthBytes, pages, unwritten, facts);
      this.#images.set(stored.name, image);
      await image.open();
    }
    for (const { bytes } of later) {
      for (const delta of decodeDeltas(bytes)) {
        const image = this.#imageOf(delta);
        await applyLogged(image, delta);
        if (delta.facts !== undefined) image.setFacts(storedFacts(actor, delta.name, delta.facts));
      }
    }
    this.#declared = new Set(Object.keys(declared));
    for (const [name, { kind, version, options }] of Object.entries(declared)) {
      const image = this.#imageOf({ name, kind, version });
      if (options !== undefined) image.growth.cap = options;
      if (image.identity.kind === kind) continue;
      throw new PinionError(
        "invalid-argument",
        `extent "${name}" of ${actor} holds a ${image.identity.kind}; its definition says ${kind}: give the new one another name`,
        { details: { actor, extent: name, stored: image.identity.kind, defined: kind } },
      );
    }
  }

  #imageOf({ name, kind, version }: ExtentImage["identity"]): ExtentImage {
    let image = this.#images.get(name);
    if (image === undefined) {
      image = new ExtentImage({ name, kind, version }, 0, undefined, this.#owner.unwritten);
      this.#images.set(name, image);
    }
    return image;
  }

  get images(): Iterable<ExtentImage> {
    return this.#images.values();
  }

  get memoryBytes(): number {
    let bytes = 0;
    for (const image of this.#images.values()) bytes += image.memoryBytes;
    return bytes;
  }

  /** Changed pages that no checkpoint has taken. */
  get dirtyBytes(): number {
    let pages = 0;
    for (const image of this.#images.values()) pages += image.dirtyPages;
    return pages * PAGE_BYTES;
  }

  get isClean(): boolean {
    for (const image of this.#images.values()) if (!image.isClean) return false;
    return true;
  }

  image(name: string): ExtentImage | undefined {
    return this.#images.get(name);
  }

  /** Makes the named extents resident as far as there is memory. @returns names of those that are not @throws `corruption`, `io-error` */
  async load(names: readonly string[], source: ExtentMemorySource): Promise<string[]> {
    const missed: string[] = [];
    for (const name of names) {
      const image = this.#images.get(name);
      if (image === undefined || image.resident) continue;
      const memory = source.allocate(capacityFor(image.lengthBytes, image.growth.bytes));
      if (memory === undefined) missed.push(name);
      else await loadInto(image, memory);
    }
    return missed;
  }

  begin(readonly: boolean, nowMs = this.#clock.nowMs()): ExtentsTurn {
    return new ExtentsTurn(this, readonly, nowMs);
  }

  // ---------------------------------------------------------------- index

  get declared(): ReadonlySet<string> {
    return this.#declared;
  }

  /** Of the facts as committed turns have left them. */
  get index(): ExtentIndex {
    return (this.#index ??= new ExtentIndex(
      [...this.#declared].map((name) => [name, (this.#images.get(name) as ExtentImage).facts]),
    ));
  }

  /** A turn that has changed facts has committed. */
  factsChanged(): void {
    this.#index = undefined;
  }

  /** A turn is over that has used these extents. */
  used(extents: readonly UsedExtent[], nowMs: number): void {
    if (extents.length === 0) return;
    for (const { image, accesses } of extents) image.usage.used(accesses, nowMs);
    if (extents.length === 1) return;
    const names = extents.map(({ image }) => image.identity.name);
    this.#learned.usedTogether(names, nowMs);
  }

  /** The hottest first, of those that were used at all. */
  hottest(limit: number): HotExtentOfActor[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#images.values()]
      .filter(({ identity, usage }) => this.#declared.has(identity.name) && usage.heatTotal > 0)
      .sort((a, b) => b.usage.heat.rank - a.usage.heat.rank)
      .slice(0, limit)
      .map(({ identity, usage }) => ({ name: identity.name, heat: usage.heat.at(nowMs) }));
  }

  /**
   * What an extent is connected with: as was set, and as was learned; the strongest first.
   * @param links as were set; default: as committed turns have left them
   */
  connected(name: string, links = this.#images.get(name)?.facts.links ?? []): ConnectedExtent[] {
    const learned = this.#learned.linksOf(name, this.#clock.nowMs());
    return connectionsOf(links, learned).filter(({ to }) => this.#images.has(to));
  }

  /** A turn has begun to use an extent that is flagged so: the beginnings of what it is connected with come in, where the whole is not. */
  prefetchConnected(name: string): void {
    for (const { to } of this.connected(name).slice(0, CONNECTED_MAX))
      this.#images.get(to)?.prefetch(0, CONNECTED_PAGES);
  }

  // ---------------------------------------------------------------- checkpoint

  /** Takes what is dirty for a checkpoint; ends with `written` or `failed`. Empty when nothing is. */
  freeze(): ExtentChange[] {
    const changes: ExtentChange[] = [];
    for (const image of this.#images.values()) {
      const change = image.freeze();
      if (change === undefined) continue;
      changes.push(change);
      this.#frozen.push(image);
    }
    return changes;
  }

  /** The checkpoint is durable. What cannot be found again is dirty again. @throws `corruption`, `io-error` */
  async written(): Promise<void> {
    const { store, shard, actor } = this.#owner;
    try {
      const hasNew = this.#frozen.some((image) => image.isNew);
      const stored = hasNew ? await store.loadExtents(shard, actor) : [];
      for (let image = this.#frozen.pop(); image !== undefined; image = this.#frozen.pop()) {
        const { name } = image.identity;
        const extent = image.isNew ? stored.find((e) => e.name === name) : undefined;
        try {
          image.frozenWritten(extent && (await store.extentPages(shard, extent)));
        } catch (e) {
          image.frozenFailed();
          throw e;
        }
      }
    } finally {
      this.failed();
    }
  }

  failed(): void {
    for (const image of this.#frozen.splice(0)) image.frozenFailed();
  }

  /** @throws `internal` while something waits for a checkpoint */
  release(): void {
    for (const image of this.#images.values()) image.release();
  }

  /** Lets everything go, whatever waits: the log has it. */
  abandon(): void {
    for (const image of this.#images.values()) image.abandon();
  }
}

async function loadInto(image: ExtentImage, memory: ExtentMemory): Promise<void> {
  let kept = false;
  try {
    kept = await image.load(memory, fillByPage);
  } finally {
    if (!kept) memory.release();
  }
}
