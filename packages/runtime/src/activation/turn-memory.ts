/** `ctx.memory`: what the actor's extents have got, and hints. Nothing here but the index changes the actor, so readonly turns may use it. */
import { PinionError, type ActorType } from "@pinion/core";
import { TurnExtentIndex } from "@pinion/storage";
import type {
  ActorMemory,
  ActorMemoryStats,
  ExtentMemoryStats,
} from "../definition/actor-context.ts";
import type { Turn } from "./turn.ts";

const NO_EXTENTS: ActorMemoryStats = Object.freeze({
  lengthBytes: 0,
  residentBytes: 0,
  lockedBytes: 0,
  extents: Object.freeze({}),
});

export class TurnMemory implements ActorMemory {
  readonly #turn: Turn;
  #index: TurnExtentIndex | undefined;

  constructor(turn: Turn) {
    this.#turn = turn;
  }

  get index(): TurnExtentIndex {
    this.#turn.assertRunning();
    return (this.#index ??= this.#newIndex());
  }

  #newIndex(): TurnExtentIndex {
    const turn = this.#turn;
    const { type, extents } = turn.activation;
    return new TurnExtentIndex({
      owner: `actor type "${type.name}"`,
      names: type.extents?.names ?? [],
      extents,
      overlay: () => {
        turn.assertRunning();
        return extents && turn.openExtents();
      },
      mayChange: () => turn.assertMayChange("set anything about an extent"),
    });
  }

  stats(): ActorMemoryStats {
    this.#turn.assertRunning();
    const { resident, services, actor } = this.#turn.activation;
    if (resident === undefined) return NO_EXTENTS;
    let lengthBytes = 0;
    let residentBytes = 0;
    let lockedBytes = 0;
    const extents: Record<string, ExtentMemoryStats> = {};
    for (const name of resident.names) {
      const image = resident.extents.image(name);
      if (image === undefined) continue;
      const pin = services.residency.pinOf?.(actor, name);
      const locked = image.resident && (pin?.locked ?? false);
      lengthBytes += image.lengthBytes;
      if (image.resident) residentBytes += image.lengthBytes;
      if (locked) lockedBytes += image.lengthBytes;
      extents[name] = {
        lengthBytes: image.lengthBytes,
        resident: image.resident,
        locked,
        degraded: pin?.degraded,
      };
    }
    return { lengthBytes, residentBytes, lockedBytes, extents };
  }

  willAccessSoon(type: ActorType | string, ...keys: string[]): void {
    const turn = this.#turn;
    turn.assertRunning();
    const { services, id } = turn.activation;
    const name = typeof type === "string" ? type : type.name;
    for (const key of keys) services.bringIn(name, id.namespace, id.branch, key);
  }

  accessComplete(...names: string[]): void {
    this.#turn.assertRunning();
    const { resident, type } = this.#turn.activation;
    if (resident === undefined) return;
    for (const name of names) {
      if (resident.names.includes(name)) continue;
      throw new PinionError(
        "invalid-argument",
        `actor type "${type.name}" declares no extent "${name}"; it has ${resident.names.join(", ")}`,
      );
    }
    // Its end counts as a use, so that comes first.
    const before = this.#turn.accessComplete ?? [];
    this.#turn.accessComplete = [...before, ...(names.length === 0 ? resident.names : names)];
  }
}
