/**
 * The extents of one activation: which there are, in memory or on disk, and what of them a checkpoint has to write.
 *
 * A1 what a turn changes in several extents becomes their present together.
 * A2 extents that the definition does not name any more are kept: they come back with their names.
 * A3 an extent opens only as what it was stored as.
 */
import { PinionError, type Lsn, type ShardId } from "@pinion/core";
import type { ActorKey, ExtentChange, StateStore } from "../state/state-store.ts";
import { decodeDeltas, encodeDeltas, type ExtentDelta } from "./extent-delta.ts";
import { ExtentImage } from "./extent-image.ts";
import { fillByPage, PAGE_BYTES, pageOf } from "./extent-pages.ts";
import { ExtentTurn, WriteBudget, writeSetTooLarge } from "./extent-turn.ts";
import type { UnwrittenPages } from "./unwritten-pages.ts";
import { capacityFor, type ExtentMemory, type ExtentMemorySource } from "./extent-memory.ts";

/** Extents by name, as a definition declares them: what structure each holds, and the version of its format that is written. */
export type ExtentDeclarations = Readonly<
  Record<string, { readonly kind: string; readonly version: number }>
>;

export interface ExtentsOwner {
  readonly store: StateStore;
  readonly shard: ShardId;
  readonly actor: ActorKey;
  /** Told of what waits for a checkpoint. */
  readonly unwritten?: UnwrittenPages;
}

/** A turn's changes as the log has them. */
export interface LoggedDelta {
  readonly lsn: Lsn;
  readonly bytes: Uint8Array;
}

export class ActorExtents {
  readonly #owner: ExtentsOwner;
  readonly #images = new Map<string, ExtentImage>();
  #frozen: ExtentImage[] = [];

  private constructor(owner: ExtentsOwner) {
    this.#owner = owner;
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
      const pages = await store.extentPages(shard, stored);
      const image = new ExtentImage(stored, stored.lengthBytes, pages, unwritten);
      this.#images.set(stored.name, image);
      await image.open();
    }
    for (const { bytes } of later) {
      for (const delta of decodeDeltas(bytes)) await applyLogged(this.#imageOf(delta), delta);
    }
    for (const [name, { kind, version }] of Object.entries(declared)) {
      const image = this.#imageOf({ name, kind, version });
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
      const memory = source.allocate(capacityFor(image.lengthBytes));
      if (memory === undefined) missed.push(name);
      else await loadInto(image, memory);
    }
    return missed;
  }

  begin(readonly: boolean): ExtentsTurn {
    return new ExtentsTurn(this.#images, readonly);
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

/** The extents of one turn. */
export class ExtentsTurn {
  readonly #images: ReadonlyMap<string, ExtentImage>;
  readonly #readonly: boolean;
  readonly #budget = new WriteBudget();
  readonly #turns = new Map<string, ExtentTurn>();
  #ended = false;

  constructor(images: ReadonlyMap<string, ExtentImage>, readonly: boolean) {
    this.#images = images;
    this.#readonly = readonly;
    // As of one moment: a readonly turn sees all of them at the same commit.
    if (readonly) for (const name of images.keys()) this.extent(name);
  }

  extent(name: string): ExtentTurn {
    let turn = this.#turns.get(name);
    if (turn === undefined) {
      if (this.#ended)
        throw new PinionError(
          "view-expired",
          "the turn of these extents is over, or another one has entered",
        );
      const image = this.#images.get(name);
      if (image === undefined)
        throw new PinionError("internal", `assertion failed: there is no extent "${name}"`);
      turn = new ExtentTurn(image, this.#readonly, this.#budget);
      this.#turns.set(name, turn);
    }
    return turn;
  }

  /** A change of it is under way, or was refused: what there is now is not whole and must not be committed. */
  get isBroken(): boolean {
    return this.#budget.refused || this.#isWaiting;
  }

  /** Reads and writes so far that had to wait. */
  get waitsBegun(): number {
    let begun = 0;
    for (const turn of this.#turns.values()) begun += turn.waitsBegun;
    return begun;
  }

  get #isWaiting(): boolean {
    for (const turn of this.#turns.values()) if (turn.isWaiting) return true;
    return false;
  }

  /** What the turn has changed; undefined when nothing. @throws `write-set-too-large`, `invalid-argument` where it `isBroken` */
  finish(): FinishedExtents | undefined {
    if (this.#budget.refused) throw writeSetTooLarge();
    if (this.#isWaiting) {
      throw new PinionError(
        "invalid-argument",
        "a turn returned before what it had begun with its extents was done: is an await missing?",
      );
    }
    const changed: { turn: ExtentTurn; delta: ExtentDelta }[] = [];
    for (const turn of this.#turns.values()) {
      const delta = turn.delta();
      if (delta !== undefined) changed.push({ turn, delta });
    }
    if (changed.length === 0) return undefined;
    return {
      delta: encodeDeltas(changed.map(({ delta }) => delta)),
      publish: () => {
        for (const { turn, delta } of changed) turn.commit(delta);
      },
    };
  }

  end(): void {
    this.#ended = true;
    for (const turn of this.#turns.values()) turn.end();
  }
}

export interface FinishedExtents {
  /** For the commit record. */
  readonly delta: Uint8Array;
  /** Makes the changes the actor's present, once the record is in the log (A1). */
  publish(): void;
}

async function loadInto(image: ExtentImage, memory: ExtentMemory): Promise<void> {
  let kept = false;
  try {
    kept = await image.load(memory, fillByPage);
  } finally {
    if (!kept) memory.release();
  }
}

/** A turn's changes from the log, on an image that is not resident. */
async function applyLogged(image: ExtentImage, delta: ExtentDelta): Promise<void> {
  const { minLengthBytes, lengthBytes } = delta;
  const { ranges } = delta;
  const pages = new Map<number, Uint8Array>();
  const bring = async (page: number): Promise<Uint8Array> => {
    let bytes = pages.get(page);
    if (bytes === undefined) {
      const start = page * PAGE_BYTES;
      bytes =
        start >= minLengthBytes ? new Uint8Array(PAGE_BYTES) : (await image.readPage(page)).slice();
      if (start + PAGE_BYTES > minLengthBytes) bytes.fill(0, Math.max(0, minLengthBytes - start));
      pages.set(page, bytes);
    }
    return bytes;
  };
  if (minLengthBytes < image.lengthBytes && minLengthBytes % PAGE_BYTES !== 0)
    await bring(pageOf(minLengthBytes));
  for (const { offset, parts } of ranges) {
    const bytes = parts[0] as Uint8Array; // what was decoded is in one piece
    for (let page = pageOf(offset); page * PAGE_BYTES < offset + bytes.length; page++) {
      const content = await bring(page);
      const start = page * PAGE_BYTES;
      const from = Math.max(0, start - offset);
      content.set(
        bytes.subarray(from, Math.min(bytes.length, start + PAGE_BYTES - offset)),
        Math.max(0, offset - start),
      );
    }
  }
  image.apply(minLengthBytes, lengthBytes, ranges, (page) => pages.get(page) as Uint8Array);
}
