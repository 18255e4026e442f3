/**
 * Keeps extents in memory while somebody has a reason for it, within a budget. pin-policy.ts says who gets it, pin-driver.ts carries
 * it out.
 *
 * State: an entry per key that is wanted or still has memory; what they have reserved (pin-ledger.ts); who waits for room
 * (pin-claims.ts); when what has to be looked at.
 *
 * M1 a pin never fails for want of memory, privilege or a good disk: its outcome says what it got.
 * M2 an extent is pinned or on its way out, never both.
 * M3 after `stop` nothing is resident and nothing is reserved.
 */
import { assert, type Clock, type Timer } from "@pinion/core";
import { bestOf } from "./best-of.ts";
import { invalidOption } from "./option-bounds.ts";
import { ExpiryWheel } from "./expiry-wheel.ts";
import { PinClaims } from "./pin-claims.ts";
import { degradedAs, PinDriver } from "./pin-driver.ts";
import { PinEntry } from "./pin-entry.ts";
import { PinGroups, type BoundedType, type TypeUse } from "./pin-groups.ts";
import { PinLedger } from "./pin-ledger.ts";
import { shedding } from "./pin-policy.ts";
import { PlacementSampler } from "./placement-sampler.ts";
import { ONE_NODE, Placer } from "./placer.ts";
import {
  listing,
  listPins,
  PinHistory,
  pinStats,
  type PinFilter,
  type PinListing,
  type PinStats,
} from "./pin-report.ts";
import {
  PIN_PRIORITIES,
  sunk,
  type EvictionReason,
  type PinBudget,
  type PinKey,
  type PinOptions,
  type PinOutcome,
  type PinPriority,
  type PinTarget,
} from "./pin-types.ts";

export interface PinManagerOptions {
  readonly clock: Clock;
  readonly budget: PinBudget;
  /** Says where memory is wanted. Default: wherever, as on a machine with one node. */
  readonly placer?: Placer;
  /** Actor types with a bound of their own. */
  readonly types?: readonly BoundedType[];
  /** How long a pin waits for turns to let go of what makes room for it. Default 1,000 ms. */
  readonly drainWaitMs?: number;
  /** How often ends of pins are looked for; also how long an unused ephemeral pin lives. Default 1,000 ms. */
  readonly gcIntervalMs?: number;
}

const PREFETCH_MAX = 64;
const PREFETCH_TTL_MS = 30_000;

export class PinManager {
  readonly #clock: Clock;
  readonly #budget: PinBudget;
  readonly #placer: Placer;
  readonly #sampler: PlacementSampler;
  readonly #gcIntervalMs: number;
  readonly #entries = new Map<PinKey, PinEntry>();
  readonly #ledger = new PinLedger();
  readonly #history = new PinHistory();
  readonly #claims: PinClaims;
  readonly #groups: PinGroups;
  readonly #driver: PinDriver;
  readonly #wheel: ExpiryWheel<PinEntry>;
  #gcTimer: Timer | undefined;
  #stopped = false;
  #held = false;

  constructor(options: PinManagerOptions) {
    this.#clock = options.clock;
    this.#budget = options.budget;
    this.#placer = options.placer ?? new Placer({ topology: ONE_NODE });
    this.#sampler = new PlacementSampler(this.#clock, this.#entries, this.#placer);
    const drainWaitMs = options.drainWaitMs ?? 1_000;
    this.#gcIntervalMs = options.gcIntervalMs ?? 1_000;
    if (!(this.#gcIntervalMs >= 1))
      throw invalidOption("pins.gcIntervalMs", this.#gcIntervalMs, "must be at least 1");
    this.#wheel = new ExpiryWheel(this.#gcIntervalMs);
    this.#claims = new PinClaims({
      clock: this.#clock,
      budget: this.#budget,
      ledger: this.#ledger,
      drainWaitMs,
      evict: (victim) => this.#driver.evict(victim, "budget"),
    });
    this.#groups = new PinGroups({
      clock: this.#clock,
      budget: this.#budget,
      types: options.types ?? [],
      drainWaitMs,
      evict: (victim) => this.#driver.evict(victim, "type-budget"),
    });
    this.#driver = new PinDriver({
      clock: this.#clock,
      ledger: this.#ledger,
      claims: this.#claims,
      groups: this.#groups,
      history: this.#history,
      placer: this.#placer,
      drainWaitMs,
      held: () => this.#held,
      onResident: (entry) => {
        entry.renew(this.#clock.nowMs());
        this.#watch(entry);
        this.#sampler.cameIn(entry);
        this.#prefetch(entry);
        // It may have grown since room was found for it.
        if (!this.resize(entry.key, entry.target.bytes)) this.#driver.evict(entry, "budget");
      },
      onForgotten: (entry) => void this.#entries.delete(entry.key),
    });
  }

  /** Looks for pins that have ended, every `gcIntervalMs`. */
  start(): void {
    if (this.#stopped || this.#gcTimer !== undefined) return;
    this.#gcTimer = this.#clock.setTimer(this.#gcIntervalMs, () => {
      this.#gcTimer = undefined;
      this.gcExpired();
      void this.measure();
      this.start();
    });
  }

  /**
   * Brings an extent in and keeps it. Pinned twice, it has the higher priority and the longer life of both, until one `unpin`.
   * @returns what came of it; never rejects (M1)
   */
  pin(key: PinKey, target: PinTarget, options: PinOptions): Promise<PinOutcome> {
    if (this.#stopped) return Promise.resolve(degradedAs("stopped"));
    const nowMs = this.#clock.nowMs();
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = new PinEntry(key, target, options, nowMs);
      this.#entries.set(key, entry);
    } else {
      entry.askAgain(target, options);
      this.#driver.reclass(entry, entry.ask.priority);
    }
    entry.heat.touch(nowMs);
    entry.renew(nowMs);
    this.#watch(entry);
    if (entry.state !== "resident") return this.#driver.bringIn(entry);
    // What was refused before may be granted now.
    entry.denial = undefined;
    return this.#driver.lockedOutcome(entry);
  }

  /** Nobody needs it any more: its memory goes once nothing references it. */
  unpin(key: PinKey): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#end(entry, "unpinned");
  }

  /**
   * It was used: its times start anew, and where it sank it rises to what was asked for.
   * @param accesses for its heat: 0 where only its actor was used
   * @returns false when it is not in memory; pin it again to try again
   */
  renew(key: PinKey, accesses = 1): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined || !entry.wanted) return false;
    const nowMs = this.#clock.nowMs();
    if (accesses > 0) entry.heat.touch(nowMs, accesses);
    const rises = entry.priority !== entry.ask.priority;
    if (rises) this.#driver.reclass(entry, entry.ask.priority);
    entry.renew(nowMs);
    if (rises) this.#watch(entry);
    return entry.state === "resident";
  }

  /**
   * Replaces what was asked for. Class, times and neighbours count at once; where its memory is and in which pages when it comes in the next time.
   * @returns whether that would be otherwise than now: `relocate` does it
   */
  askInstead(key: PinKey, options: PinOptions): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined || !entry.wanted) return false;
    const moves = entry.askInstead(options);
    this.#driver.reclass(entry, entry.ask.priority);
    entry.renew(this.#clock.nowMs());
    this.#watch(entry);
    if (entry.state === "resident") this.#prefetch(entry);
    return moves && entry.state === "resident";
  }

  /** Moves it to another class, up or down, also while it loads. @returns false when it is not known */
  promote(key: PinKey, priority: PinPriority): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined || !entry.wanted) return false;
    entry.ask = { ...entry.ask, priority };
    this.#driver.reclass(entry, priority);
    entry.renew(this.#clock.nowMs());
    this.#watch(entry);
    return true;
  }

  /** Sinks by one class before its time, until it is used again. @returns false when it is not resident, or has no class left */
  demote(key: PinKey): boolean {
    const entry = this.#entries.get(key);
    if (entry?.state !== "resident" || entry.priority === "none") return false;
    this.#sink(entry, this.#clock.nowMs());
    this.#watch(entry);
    return true;
  }

  /** In memory, and in a class that keeps it there. */
  isPinned(key: PinKey): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && entry.state === "resident" && entry.priority !== "none";
  }

  /** The class it is in now; undefined when nobody has pinned it. */
  priorityOf(key: PinKey): PinPriority | undefined {
    const entry = this.#entries.get(key);
    return entry?.wanted ? entry.priority : undefined;
  }

  /** Resident, colder than `belowHeat`, used by nothing: in the order in which they would go, at most `limit`. */
  cold(belowHeat: number, limit: number): PinListing[] {
    const nowMs = this.#clock.nowMs();
    const found: PinEntry[] = [];
    for (const priority of PIN_PRIORITIES.toReversed()) {
      const those = this.#ledger.residents(priority).values();
      const isCold = (entry: PinEntry): boolean =>
        !entry.referenced && entry.heat.at(nowMs) < belowHeat;
      const colder = (a: PinEntry, b: PinEntry): number => a.heatRank - b.heatRank;
      found.push(...bestOf(those.filter(isCold), limit - found.length, colder));
      if (found.length >= limit) break;
    }
    return found.map((entry) => listing(entry, nowMs, this.#placer.home));
  }

  /** Bytes by which the host's use of the budget exceeds a share of it, without what is on its way out; not below 0. */
  bytesAbove(share: number): number {
    const { limitBytes, usedBytes } = this.#budget;
    return Math.max(0, usedBytes - this.#ledger.usedBytes.draining - share * limitBytes);
  }

  /** One line of `list`. */
  find(key: PinKey): PinListing | undefined {
    const entry = this.#entries.get(key);
    return entry && listing(entry, this.#clock.nowMs(), this.#placer.home);
  }

  /** A task is over, and the pins of lifetime `task` that name it are. @returns how many */
  endTask(task: string): number {
    let ended = 0;
    for (const entry of [...this.#entries.values()]) {
      const { lifetime } = entry.ask;
      if (!entry.wanted || lifetime !== "task" || entry.ask.task !== task) continue;
      this.#end(entry, "expired");
      ended++;
    }
    return ended;
  }

  /** Ends pins whose lifetime is over, lets idle ones sink, and gives back what is above the limit or owed to others. @returns pins ended */
  gcExpired(): number {
    const nowMs = this.#clock.nowMs();
    let ended = 0;
    for (const entry of this.#wheel.take(nowMs)) {
      if (!entry.wanted) continue;
      if (entry.expired(nowMs, this.#gcIntervalMs)) {
        this.#end(entry, "expired");
        ended++;
        continue;
      }
      if (entry.state === "resident" && nowMs >= entry.sinksMs) this.#sink(entry, nowMs);
      this.#watch(entry);
    }
    this.enforceLimit();
    const owed = Math.min(this.#budget.owedBytes, this.#ledger.totalBytes);
    if (owed > 0) this.shed(owed, "tail-latency-critical", "budget");
    this.#claims.wantingUntil(nowMs, 2 * this.#gcIntervalMs);
    return ended;
  }

  /** After the limit was lowered: this worker's part of what is too much goes. */
  enforceLimit(): void {
    const { overBytes, usedBytes } = this.#budget;
    if (overBytes === 0 || usedBytes === 0) return;
    const part = Math.ceil((overBytes * this.#ledger.totalBytes) / usedBytes);
    this.shed(part, "tail-latency-critical", "pressure");
  }

  /** While memory is short, nothing new comes in: pins degrade with `pressure`. */
  holdAdmission(held: boolean): void {
    this.#held = held;
  }

  /**
   * Makes pins go, lowest class first, up to `upTo`, until `byteCount` are on their way out.
   * @returns bytes that are, without those that already were
   */
  shed(byteCount: number, upTo: PinPriority, reason: EvictionReason): number {
    const missing = byteCount - this.#claims.unpromisedBytes;
    if (missing <= 0) return 0;
    const victims = shedding<PinEntry>(missing, upTo, (priority) =>
      this.#ledger.residents(priority),
    );
    let going = 0;
    for (const victim of victims) {
      going += victim.bytes;
      this.#driver.evict(victim, reason);
    }
    return going;
  }

  /**
   * What a resident extent takes from now on: asked before it grows, told after it has shrunk, or when it may have. Only free room counts, nobody
   * goes for it.
   * @returns false when there is none, or the extent is not resident; then it must not grow
   */
  resize(key: PinKey, byteCount: number): boolean {
    const entry = this.#entries.get(key);
    if (entry?.state !== "resident") return false;
    if (!this.#groups.resize(entry, byteCount)) return false;
    if (byteCount === entry.bytes) return true;
    const more = byteCount - entry.bytes;
    if (more <= 0) {
      this.#ledger.take(entry, more);
      this.#claims.freed(-more);
      return true;
    }
    const taken = this.#budget.reserveUpTo(more);
    if (taken === more) this.#ledger.take(entry, more);
    else {
      this.#claims.freed(taken);
      this.#groups.resize(entry, entry.bytes);
    }
    return taken === more;
  }

  /** Makes one extent go, whatever its class. @returns false when it is not resident */
  evict(key: PinKey, reason: EvictionReason): boolean {
    const entry = this.#entries.get(key);
    if (entry?.state !== "resident") return false;
    this.#driver.evict(entry, reason);
    return true;
  }

  /** Looks at where some of the resident extents are, those first that nobody has looked at (placement-sampler.ts). */
  measure(): Promise<void> {
    return this.#stopped ? Promise.resolve() : this.#sampler.look();
  }

  /**
   * Brings an extent's memory to the node it is wanted on: in place where the system can, and nothing else was asked for since it came in; else by
   * bringing it in again.
   * Undefined: it is not resident, in use, on its way already, or might not get back in.
   */
  relocate(key: PinKey): Promise<void> | undefined {
    const entry = this.#entries.get(key);
    if (entry?.state !== "resident" || !entry.wanted || entry.referenced) return undefined;
    if (this.#held || this.#budget.overBytes > 0 || entry.moving !== undefined) return undefined;
    entry.moving = this.#move(entry).finally(() => (entry.moving = undefined));
    return entry.moving;
  }

  async #move(entry: PinEntry): Promise<void> {
    const { target, residentSinceMs, isMisplaced } = entry;
    const before = entry.placement?.bytesByNode;
    const there = isMisplaced ? undefined : await target.move(this.#wantedNode(entry));
    if (entry.state !== "resident" || entry.residentSinceMs !== residentSinceMs) return;
    if (there === undefined) {
      if (!entry.wanted || entry.referenced) return;
      this.#driver.leave(entry, "rebalance");
      await this.#driver.bringIn(entry);
    }
    await this.#sampler.measure(entry);
    const node = this.#wantedNode(entry);
    const more = (entry.placement?.bytesByNode?.get(node) ?? 0) - (before?.get(node) ?? 0);
    if (more <= 0) return;
    this.#history.movedExtents++;
    this.#history.movedBytes += more;
  }

  #wantedNode({ placing }: PinEntry): number {
    return placing?.wantedNode ?? this.#placer.home;
  }

  /** Of actor types with a bound of their own. */
  typeUse(): TypeUse[] {
    return this.#groups.stats();
  }

  stats(): PinStats {
    return pinStats(this.#entries.values(), {
      budget: this.#budget,
      ledger: this.#ledger,
      history: this.#history,
      home: this.#placer.home,
    });
  }

  list(filter: PinFilter = {}): PinListing[] {
    return listPins(this.#entries.values(), filter, this.#clock.nowMs(), this.#placer.home);
  }

  /** Resolves once everything is dropped: references have to go for that. Pins that run resolve as degraded. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#gcTimer?.cancel();
    for (const entry of [...this.#entries.values()]) this.#end(entry, "stopped");
    for (let entry = first(this.#entries); entry !== undefined; entry = first(this.#entries)) {
      await (entry.running ?? entry.leaving);
    }
    await this.#sampler.idle();
    assert(this.#ledger.totalBytes === 0, "bytes are reserved for nobody");
    this.#budget.want(0);
  }

  #sink(entry: PinEntry, nowMs: number): void {
    const { renewedMs } = entry;
    this.#driver.reclass(entry, sunk(entry.priority));
    entry.renew(nowMs);
    // Sinking is no use: a time to live goes on counting.
    entry.renewedMs = renewedMs;
  }

  #end(entry: PinEntry, reason: PinEntry["ended"]): void {
    if (!entry.wanted) return;
    this.#wheel.remove(entry);
    this.#driver.end(entry, reason);
  }

  #watch(entry: PinEntry): void {
    this.#wheel.put(entry, entry.dueMs(this.#gcIntervalMs));
  }

  /** There is room for it without anybody going: neighbours must not push each other out. */
  #isFree(entry: PinEntry): boolean {
    const { usedBytes, limitBytes } = this.#budget;
    return usedBytes + entry.target.bytes <= limitBytes && this.#groups.hasRoom(entry);
  }

  #prefetch(entry: PinEntry): void {
    const count = Math.min(entry.ask.prefetchAdjacent, PREFETCH_MAX);
    if (count === 0) return;
    for (const { key, target } of entry.target.adjacent(count)) {
      const known = this.#entries.get(key);
      if (known === undefined) {
        const ask = { priority: "none", lifetime: "session", ttlMs: PREFETCH_TTL_MS } as const;
        void this.pin(key, target, ask);
      } else if (known.wanted && known.state === "absent" && known.idle && this.#isFree(known)) {
        void this.#driver.bringIn(known);
      }
    }
  }
}

function first(entries: ReadonlyMap<PinKey, PinEntry>): PinEntry | undefined {
  for (const entry of entries.values()) return entry;
  return undefined;
}
