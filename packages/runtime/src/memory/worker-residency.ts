/**
 * The residency of a host's worker: pins, and beside them which actors with extents are active, so that an actor can ask what it got, hints
 * reach the adaptive controller, and metrics can tell one type from another.
 */
import type {
  ActorKey,
  AdaptiveController,
  ExtentResidency,
  PinListing,
  PinnedResidency,
  ResidentActor,
} from "@pinion/storage";
import { parseActorKey } from "../records/actor-key.ts";

/** What the active actors of a type have in memory. */
export interface TypeMemory {
  readonly extents: number;
  readonly bytes: number;
}

export class WorkerResidency implements ExtentResidency {
  readonly pinned: PinnedResidency;
  readonly #adaptive: () => AdaptiveController;
  readonly #active = new Map<ActorKey, ResidentActor>();

  /** @param adaptive asked for when there is a hint: the controller is made after this */
  constructor(pinned: PinnedResidency, adaptive: () => AdaptiveController) {
    this.pinned = pinned;
    this.#adaptive = adaptive;
  }

  async activate(actor: ResidentActor): Promise<void> {
    this.#active.set(actor.actor, actor);
    await this.pinned.activate(actor);
  }

  used(actor: ResidentActor): void {
    this.pinned.used(actor);
  }

  deactivate(actor: ResidentActor): void {
    // An activation that ends late must not hide the next one.
    if (this.#active.get(actor.actor) === actor) this.#active.delete(actor.actor);
    this.pinned.deactivate(actor);
  }

  pinOf(actor: ActorKey, name: string): PinListing | undefined {
    return this.pinned.pinOf(actor, name);
  }

  /** The actor is called soon: what of it had to go comes back now instead of with its next turn. */
  willAccessSoon(actor: ResidentActor): void {
    this.#adaptive().willAccessSoon(this.pinned.targetsOf(actor), 0);
  }

  /** The actor will not be called soon: its named extents sink by one class. */
  accessComplete(actor: ResidentActor, names: readonly string[]): void {
    const keys = this.pinned.targetsOf({ ...actor, names }).map(({ key }) => key);
    this.#adaptive().accessComplete(keys);
  }

  /** By type name; one look at each active actor that has extents. */
  byType(): ReadonlyMap<string, TypeMemory> {
    const sums = new Map<string, { extents: number; bytes: number }>();
    for (const { actor, extents, names } of this.#active.values()) {
      const { type } = parseActorKey(actor);
      let sum = sums.get(type);
      if (sum === undefined) sums.set(type, (sum = { extents: 0, bytes: 0 }));
      for (const name of names) {
        const image = extents.image(name);
        if (image?.resident !== true) continue;
        sum.extents++;
        sum.bytes += image.lengthBytes;
      }
    }
    return sums;
  }
}
