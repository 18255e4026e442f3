/**
 * Which extents of a worker are in memory: what activations ask for, and a host decides.
 *
 * X1 an activation never fails for want of memory: what does not fit is read from disk page by page.
 * X2 with the end of an activation its memory goes, as soon as nothing looks at it.
 */
import type { Clock } from "@pinion/core";
import type { ActorKey } from "../state/state-store.ts";
import {
  PRIORITY_OF_PROFILE,
  raised,
  type MemoryProfile,
  type PinKey,
  type PinOptions,
  type PinOutcome,
  type PinTarget,
} from "../residency/pin-types.ts";
import { bestOf } from "../residency/best-of.ts";
import type { Heat } from "../residency/heat.ts";
import type { HotExtent } from "../residency/adaptive-controller.ts";
import type { PinManager } from "../residency/pin-manager.ts";
import type { PinListing } from "../residency/pin-report.ts";
import { CONNECTED_MAX, type ActorExtents } from "./actor-extents.ts";
import type { Arena } from "./arena.ts";
import type { ExtentFacts } from "./extent-facts.ts";
import type { ExtentMemorySource } from "./extent-memory.ts";
import { ExtentTarget } from "./extent-target.ts";

/** The extents of one activation and how its type wants them. */
export interface ResidentActor {
  readonly actor: ActorKey;
  readonly extents: ActorExtents;
  readonly names: readonly string[];
  readonly profile: MemoryProfile;
  /** Its type, where that may have a bound of its own. */
  readonly type?: string;
}

export interface ExtentResidency {
  /** Resolves once the extents are where the profile wants them, or as near as memory allows. @throws `corruption`, `io-error` */
  activate(actor: ResidentActor): Promise<void>;
  /** The actor runs a turn. Cheap: called for every turn. @param nowMs where the caller knows */
  used(actor: ResidentActor, nowMs?: number): void;
  /** The activation has ended. */
  deactivate(actor: ResidentActor): void;
}

/** Without a budget, without locks: hot and warm extents are in memory, cold ones are not. For tests, and for use without a host. */
export class PlainResidency implements ExtentResidency {
  readonly #source: ExtentMemorySource;

  constructor(source: ExtentMemorySource) {
    this.#source = source;
  }

  async activate({ extents, names, profile }: ResidentActor): Promise<void> {
    if (profile !== "cold") await extents.load(names, this.#source);
  }

  used(): void {}

  deactivate({ extents }: ResidentActor): void {
    extents.abandon();
  }
}

/** Pins live for seconds: so long one turn renews for those that follow it. */
const RENEW_MS = 1;
/** How long an extent that had to go waits before it is asked for again. */
const RETRY_MS = 1_000;

interface Pinned {
  readonly key: PinKey;
  readonly target: ExtentTarget;
  /** What it was asked for with, and the facts that this follows from. */
  options: PinOptions;
  facts: ExtentFacts;
  /** Its memory is not where, or not in the pages, that it was asked for since. */
  moves: boolean;
  /** Of its usage, what the pins know. */
  heatTotal: number;
  retryAtMs: number;
  /** Until then its pin need not be told of another turn. */
  renewedUntilMs: number;
}

/** What flags ask for, besides the profile. */
function optionsOf({ flags }: ExtentFacts, profile: MemoryProfile): PinOptions {
  const { hot, prefetch, hugePages, numaNode } = flags;
  const priority = PRIORITY_OF_PROFILE[profile];
  return {
    priority: hot ? raised(priority) : priority,
    ...(prefetch && { prefetchAdjacent: CONNECTED_MAX }),
    ...(hugePages !== undefined && { hugePages }),
    ...(numaNode !== undefined && { numaPrefer: numaNode }),
  };
}

const keyOf = (actor: ActorKey, name: string): PinKey => `${actor}#${name}`;

const heatOf = ({ target }: Pinned): Heat => target.image.usage.heat;

export class PinnedResidency implements ExtentResidency {
  readonly pins: PinManager;
  readonly arena: Arena;
  readonly #clock: Clock;
  readonly #pinned = new Map<PinKey, Pinned>();
  /** The same by actor: what every turn goes through. */
  readonly #ofActor = new Map<ActorExtents, Pinned[]>();

  /** Both stay their owner's. */
  constructor(clock: Clock, pins: PinManager, arena: Arena) {
    this.#clock = clock;
    this.pins = pins;
    this.arena = arena;
  }

  async activate(actor: ResidentActor): Promise<void> {
    const isHot = (name: string): boolean => actor.extents.image(name)?.facts.flags.hot ?? false;
    // In this order they get what room there is.
    const pin = (name: string) => Promise.resolve(this.#pin(actor, name));
    const hot = actor.names.filter(isHot).map(pin);
    const others = actor.names.filter((name) => !isHot(name)).map(pin);
    // Cold extents come in behind the first turns, if there is room.
    await Promise.all(actor.profile === "cold" ? hot : [...hot, ...others]);
  }

  #pin(actor: ResidentActor, name: string): Promise<PinOutcome> | undefined {
    const { extents, profile } = actor;
    const image = extents.image(name);
    if (image === undefined) return undefined;
    const key = keyOf(actor.actor, name);
    const target = new ExtentTarget(actor, image, profile, this.arena, this.#clock, () =>
      this.#connected(actor, name),
    );
    const options = optionsOf(image.facts, profile);
    const pinned: Pinned = {
      key,
      target,
      options,
      facts: image.facts,
      moves: false,
      heatTotal: image.usage.heatTotal,
      retryAtMs: this.#clock.nowMs() + RETRY_MS,
      renewedUntilMs: 0,
    };
    this.#pinned.set(key, pinned);
    const ofActor = this.#ofActor.get(extents);
    if (ofActor === undefined) this.#ofActor.set(extents, [pinned]);
    else ofActor.push(pinned);
    return this.pins.pin(key, target, options);
  }

  *#connected(
    { actor, extents }: ResidentActor,
    name: string,
  ): Iterable<{ readonly key: PinKey; readonly target: PinTarget }> {
    for (const { to } of extents.connected(name)) {
      const pinned = this.#pinned.get(keyOf(actor, to));
      if (pinned !== undefined) yield pinned;
    }
  }

  used(actor: ResidentActor, nowMs = this.#clock.nowMs()): void {
    for (const pinned of this.#ofActor.get(actor.extents) ?? []) {
      const { key, target } = pinned;
      const { facts, usage, resident } = target.image;
      // What is used all the time: its heat adds up until it is told.
      if (nowMs < pinned.renewedUntilMs && resident && facts === pinned.facts) continue;
      pinned.renewedUntilMs = nowMs + RENEW_MS;
      const heat = usage.heatTotal - pinned.heatTotal;
      pinned.heatTotal = usage.heatTotal;
      if (facts !== pinned.facts) this.#askInstead(pinned, facts, actor.profile);
      if (this.pins.renew(key, heat)) {
        if (target.image.resident) {
          if (pinned.moves) pinned.moves = this.pins.relocate(key) === undefined;
          else this.#resize(pinned);
          continue;
        }
        // It has outgrown its memory (arena-memory.ts, B2): into a larger block, now.
        this.pins.evict(key, "rebalance");
        pinned.retryAtMs = nowMs;
      }
      // It had to go, and may come back when there is room.
      if (nowMs < pinned.retryAtMs) continue;
      pinned.retryAtMs = nowMs + RETRY_MS;
      void this.pins.pin(key, target, pinned.options);
    }
  }

  /** A turn has set other flags, or connections. */
  #askInstead(pinned: Pinned, facts: ExtentFacts, profile: MemoryProfile): void {
    pinned.facts = facts;
    pinned.options = optionsOf(facts, profile);
    if (this.pins.askInstead(pinned.key, pinned.options)) pinned.moves = true;
  }

  /** It has grown, or shrunk: the budget hears of it. */
  #resize({ key, target }: Pinned): void {
    // Without free room it goes, and comes back when others had to make room for it.
    if (!this.pins.resize(key, target.bytes)) this.pins.evict(key, "budget");
  }

  /** What an extent of an active actor has got. */
  pinOf(actor: ActorKey, name: string): PinListing | undefined {
    return this.pins.find(keyOf(actor, name));
  }

  /** The named extents of an active actor, to pin them once more. */
  targetsOf({ actor, names }: ResidentActor): { key: PinKey; target: PinTarget }[] {
    return names.flatMap((name) => {
      const key = keyOf(actor, name);
      const target = this.#pinned.get(key)?.target;
      return target === undefined ? [] : [{ key, target }];
    });
  }

  /** Of all extents of active actors, resident or not, the hottest first. */
  hottest(limit: number): HotExtent[] {
    const nowMs = this.#clock.nowMs();
    const hotter = (a: Pinned, b: Pinned): number => heatOf(b).rank - heatOf(a).rank;
    return bestOf(this.#pinned.values(), limit, hotter).map((pinned) => ({
      key: pinned.key,
      target: pinned.target,
      heat: heatOf(pinned).at(nowMs),
    }));
  }

  deactivate({ extents }: ResidentActor): void {
    for (const pinned of this.#ofActor.get(extents) ?? []) {
      // The next activation of the actor may have pinned it already.
      if (this.#pinned.get(pinned.key) !== pinned) continue;
      this.#pinned.delete(pinned.key);
      this.pins.unpin(pinned.key);
    }
    this.#ofActor.delete(extents);
    extents.abandon();
  }
}
