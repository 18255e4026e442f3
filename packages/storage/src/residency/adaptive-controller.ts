/**
 * Moves extents between classes by how hot they are, and between NUMA nodes by where they are; takes hints from those who know better.
 *
 * State: when it began to learn, when it last rebalanced, faults at the last look, and the pins that hints have made.
 *
 * A1 while it learns it decides nothing, but for budget pressure; hints count always, for they are no guess.
 * A2 it promotes only to the class that heat asks for, and demotes only what is cold: between the two thresholds nothing moves, so what
 *    was promoted is not demoted a moment later.
 * A3 at most `changesMax` promotions and moves at a time.
 */
import { type Clock, type Timer } from "@pinion/core";
import {
  resolveAdaptiveOptions,
  type AdaptiveOptions,
  type ResolvedAdaptiveOptions,
} from "./adaptive-options.ts";
import { shouldMigrate } from "./numa-policy.ts";
import type { PinManager } from "./pin-manager.ts";
import { rankOf, type PinKey, type PinPriority, type PinTarget } from "./pin-types.ts";

export interface HotExtent {
  readonly key: PinKey;
  readonly target: PinTarget;
  /** 0 … 1, as `Heat` counts. */
  readonly heat: number;
}

export interface AdaptivePorts {
  /** The hottest extents of the worker, pinned or not, hottest first. */
  hottest(limit: number): Iterable<HotExtent>;
  /** Major faults of the worker since its start; undefined where nobody can tell. */
  majorFaults(): number | undefined;
}

export interface AdaptiveParts {
  readonly clock: Clock;
  readonly pins: PinManager;
  readonly ports: AdaptivePorts;
  readonly options?: AdaptiveOptions;
}

export interface AdaptiveReport {
  readonly learning: boolean;
  readonly promoted: number;
  readonly demoted: number;
  readonly evicted: number;
  readonly moved: number;
  readonly hinted: number;
  /** At the last look; undefined where nobody can tell. */
  readonly faultsPerSecond: number | undefined;
}

/** Cold extents that go or sink at a time. */
const COLD_MAX = 256;
/** Pins that are looked at for their place, the hottest of the highest classes first. */
const PLACED_MAX = 4_096;
/** How long a hinted extent is kept after the time it was expected at. */
const HINT_GRACE_MS = 30_000;
const HINTS_MAX = 10_000;

export class AdaptiveController {
  readonly #clock: Clock;
  readonly #pins: PinManager;
  readonly #ports: AdaptivePorts;
  readonly #options: ResolvedAdaptiveOptions;
  readonly #learnsUntilMs: number;
  readonly #hints = new Set<PinKey>();
  #timer: Timer | undefined;
  #stopped = false;
  #rebalancedMs: number;
  #faults: { readonly atMs: number; readonly count: number } | undefined;
  #faultsPerSecond: number | undefined;
  #promoted = 0;
  #demoted = 0;
  #evicted = 0;
  #moved = 0;
  #hinted = 0;

  /** @throws `config-invalid` */
  constructor(parts: AdaptiveParts) {
    this.#clock = parts.clock;
    this.#pins = parts.pins;
    this.#ports = parts.ports;
    this.#options = resolveAdaptiveOptions(parts.options);
    const nowMs = this.#clock.nowMs();
    this.#learnsUntilMs = nowMs + this.#options.learningMs;
    this.#rebalancedMs = nowMs;
  }

  start(): void {
    if (this.#stopped || this.#timer !== undefined) return;
    this.#timer = this.#clock.setTimer(this.#options.intervalMs, () => {
      this.#timer = undefined;
      this.#look();
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** These will be read in about `delayMs`: they come in now, and stay until 30 s after that unless something else keeps them. */
  willAccessSoon(
    extents: Iterable<{ readonly key: PinKey; readonly target: PinTarget }>,
    delayMs: number,
  ): void {
    for (const { key, target } of extents) {
      if (this.#stopped || this.#hints.size >= HINTS_MAX) return;
      if (this.#pins.renew(key)) {
        // Somebody keeps it already.
        this.#moveHome(key, true);
        continue;
      }
      if (this.#pins.priorityOf(key) === undefined) this.#hints.add(key);
      this.#hinted++;
      const ttlMs = delayMs + HINT_GRACE_MS;
      void this.#pins.pin(key, target, { priority: "background", lifetime: "session", ttlMs });
    }
  }

  /** These were read and are not needed again soon: what only a hint has brought in goes, other pins sink by one class. */
  accessComplete(keys: Iterable<PinKey>): void {
    for (const key of keys) {
      // Somebody else may have pinned it since, and for longer.
      const hinted = this.#hints.delete(key) && this.#pins.find(key)?.lifetime === "session";
      if (hinted) this.#pins.unpin(key);
      else if (this.#pins.demote(key)) this.#demoted++;
    }
  }

  report(): AdaptiveReport {
    return {
      learning: this.#learning,
      promoted: this.#promoted,
      demoted: this.#demoted,
      evicted: this.#evicted,
      moved: this.#moved,
      hinted: this.#hinted,
      faultsPerSecond: this.#faultsPerSecond,
    };
  }

  get #learning(): boolean {
    return this.#clock.nowMs() < this.#learnsUntilMs;
  }

  #look(): void {
    const nowMs = this.#clock.nowMs();
    this.#measureFaults(nowMs);
    for (const key of this.#hints)
      if (this.#pins.priorityOf(key) === undefined) this.#hints.delete(key);
    this.#relieveBudget();
    if (this.#learning) return;
    this.#promoteHot();
    if (nowMs - this.#rebalancedMs < this.#options.rebalanceMs) return;
    this.#rebalancedMs = nowMs;
    this.#rebalance();
  }

  #measureFaults(atMs: number): void {
    const count = this.#ports.majorFaults();
    const before = this.#faults;
    this.#faults = count === undefined ? undefined : { atMs, count };
    this.#faultsPerSecond =
      count === undefined || before === undefined
        ? undefined
        : ((count - before.count) * 1_000) / (atMs - before.atMs);
  }

  /** Above the threshold: cold extents go or sink, lowest class first, coldest first, until it would be enough. */
  #relieveBudget(): void {
    const { budgetPressure, coldHeat } = this.#options;
    let above = this.#pins.bytesAbove(budgetPressure);
    if (above === 0) return;
    for (const { key, priority, bytes } of this.#pins.cold(coldHeat, COLD_MAX)) {
      if (above <= 0) return;
      if (priority === "background" || priority === "none") {
        this.#pins.evict(key, "adaptive");
        this.#evicted++;
        above -= bytes;
      } else if (this.#pins.demote(key)) {
        this.#demoted++;
      }
    }
  }

  #promoteHot(): void {
    const { promoteHeat, criticalHeat, faultPromoteHeat, faultsPerSecond, changesMax } =
      this.#options;
    const faulting = this.#faultsPerSecond !== undefined && this.#faultsPerSecond > faultsPerSecond;
    const from = faulting ? faultPromoteHeat : promoteHeat;
    let changes = 0;
    for (const { key, target, heat } of this.#ports.hottest(changesMax * 8)) {
      if (heat < from || changes >= changesMax) return;
      const wanted = heat >= criticalHeat ? "tail-latency-critical" : "query-critical";
      if (this.#raise(key, target, wanted)) changes++;
    }
  }

  #raise(key: PinKey, target: PinTarget, wanted: PinPriority): boolean {
    const current = this.#pins.priorityOf(key);
    const pinned = this.#pins.isPinned(key);
    if (current !== undefined && pinned && rankOf(current) <= rankOf(wanted)) return false;
    if (pinned) {
      this.#pins.promote(key, wanted);
      this.#promoted++;
      return true;
    }
    // A pin that degrades is tried again at the next look, if it is still hot.
    const ttlMs = this.#options.rebalanceMs;
    const outcome = this.#pins.pin(key, target, { priority: wanted, lifetime: "session", ttlMs });
    void outcome.then(({ kind }) => {
      if (kind !== "degraded") this.#promoted++;
    });
    return true;
  }

  /** The hottest of those on other nodes come home. */
  #rebalance(): void {
    const { numaMiss, changesMax } = this.#options;
    if (1 - this.#pins.stats().numaLocal.share <= numaMiss) return;
    let changes = 0;
    for (const { key } of this.#pins.list({ limit: PLACED_MAX })) {
      if (changes >= changesMax) return;
      if (this.#moveHome(key, false)) changes++;
    }
  }

  #moveHome(key: PinKey, hinted: boolean): boolean {
    const { migration, numaMiss, rebalanceMs } = this.#options;
    const pin = this.#pins.find(key);
    if (pin === undefined || this.#learning || pin.wantedNode === undefined) return false;
    const { localShare, references } = pin;
    const accessed = hinted || pin.idleMs < rebalanceMs;
    const question = { localShare, references, accessed, missShareMax: numaMiss };
    if (!shouldMigrate(migration, question)) return false;
    const moving = this.#pins.relocate(key);
    if (moving === undefined) return false;
    void moving;
    this.#moved++;
    return true;
  }
}
