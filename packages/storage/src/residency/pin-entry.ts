/**
 * What the pin manager knows of one extent.
 *
 * | state    | next                                                                   |
 * | -------- | ---------------------------------------------------------------------- |
 * | absent   | loading (room was found), or forgotten                                  |
 * | loading  | resident, absent (failed or aborted), draining (nobody wants it any more) |
 * | resident | draining                                                               |
 * | draining | absent: `PinTarget.drop` waits for the references, detaches, gives back |
 */
import { assert, type PinionError } from "@pinion/core";
import type { LockDenial, RangePlacement } from "../memory/memory-door.ts";
import { Heat } from "./heat.ts";
import { CLASS_POLICIES } from "./pin-policy.ts";
import type { Placing } from "./placer.ts";
import {
  higherOf,
  type DegradedReason,
  type EvictionReason,
  type LoadReport,
  type PinKey,
  type PinLifetime,
  type PinOptions,
  type PinOutcome,
  type PinPriority,
  type PinTarget,
} from "./pin-types.ts";

export type PinState = "absent" | "loading" | "resident" | "draining";

/** Where an entry's bytes are counted. */
export type LedgerClass = PinPriority | "draining";

const LIFETIMES: readonly PinLifetime[] = ["ephemeral", "session", "task", "long-lived"];
const SESSION_TTL_MS = 60_000;

type Ask = Required<Pick<PinOptions, "priority" | "lifetime" | "onFault" | "prefetchAdjacent">> &
  Pick<PinOptions, "numaPrefer" | "hugePages" | "task"> & { readonly ttlMs: number };

function askOf(options: PinOptions): Ask {
  const { lifetime = "long-lived" } = options;
  return {
    ...options,
    lifetime,
    onFault: options.onFault ?? false,
    prefetchAdjacent: options.prefetchAdjacent ?? 0,
    ttlMs: options.ttlMs ?? (lifetime === "session" ? SESSION_TTL_MS : Infinity),
  };
}

export class PinEntry {
  readonly key: PinKey;
  /** Whose memory is held, or was last. */
  target: PinTarget;
  /** What was asked for last. Another object than `target` while an earlier extent of the same name still drains. */
  wantedTarget: PinTarget;
  ask: Ask;
  state: PinState = "absent";
  /** Somebody has pinned it and not unpinned it. */
  wanted = true;
  /** Why it is not wanted. */
  ended: Extract<EvictionReason, "unpinned" | "expired" | "stopped"> = "unpinned";
  /** The class it is in now; lower than asked when it sank. */
  priority: PinPriority;
  /** Bytes reserved of the budget for it. Only `PinLedger` changes this and `countedAs`. */
  bytes = 0;
  countedAs: LedgerClass;
  locked = false;
  denial: LockDenial | undefined;
  degraded:
    | { readonly reason: DegradedReason; readonly error: PinionError | undefined }
    | undefined;
  /** Where it was meant to be; of a resident entry. */
  placing: (Placing & LoadReport) | undefined;
  /** It was asked for elsewhere, or in other pages, since it came in: it has to come in anew. */
  isMisplaced = false;
  /** Where it was found; undefined: not measured yet, or nobody can tell. */
  placement: RangePlacement | undefined;
  measuredMs = -Infinity;
  moving: Promise<void> | undefined;
  residentSinceMs = 0;
  renewedMs: number;
  /** When it sinks to the next class. */
  sinksMs = Infinity;
  readonly heat = new Heat();
  /** Ends the load that runs. */
  abort: AbortController | undefined;
  /** Bringing it in. Never rejects, like the others. */
  running: Promise<PinOutcome | undefined> | undefined;
  locking: Promise<void> | undefined;
  leaving: Promise<void> | undefined;

  constructor(key: PinKey, target: PinTarget, options: PinOptions, nowMs: number) {
    this.key = key;
    this.target = target;
    this.wantedTarget = target;
    this.ask = askOf(options);
    this.priority = this.ask.priority;
    this.countedAs = this.priority;
    this.renewedMs = nowMs;
  }

  get heatRank(): number {
    return this.heat.rank;
  }

  get referenced(): boolean {
    return this.target.references > 0;
  }

  /** All of it is locked: for whoever asks. */
  get isLocked(): boolean {
    return this.locked && this.target.unlockedGrowth === undefined;
  }

  /** Why it is not. */
  get notLocked(): LockDenial | undefined {
    return this.denial ?? (this.locked ? this.target.unlockedGrowth : undefined);
  }

  get idle(): boolean {
    return this.running === undefined && this.leaving === undefined;
  }

  /** A pin of a key that is pinned already keeps the higher priority and the longer life of both. */
  askAgain(target: PinTarget, options: PinOptions): void {
    const ask = askOf(options);
    if (this.wanted) {
      const same =
        target === this.wantedTarget || this.state === "absent" || this.state === "draining";
      assert(same, `${this.key} is pinned twice with different targets`);
      const longer = LIFETIMES.indexOf(ask.lifetime) > LIFETIMES.indexOf(this.ask.lifetime);
      this.ask = {
        ...this.ask,
        ...ask,
        priority: higherOf(ask.priority, this.ask.priority),
        lifetime: longer ? ask.lifetime : this.ask.lifetime,
        prefetchAdjacent: Math.max(ask.prefetchAdjacent, this.ask.prefetchAdjacent),
        ttlMs: Math.max(ask.ttlMs, this.ask.ttlMs),
      };
    } else {
      this.ask = ask;
    }
    this.wantedTarget = target;
    this.wanted = true;
  }

  /** Asked for otherwise from now on. @returns whether its memory is wanted elsewhere, or in other pages */
  askInstead(options: PinOptions): boolean {
    const before = this.ask;
    this.ask = askOf(options);
    const moves =
      before.hugePages !== this.ask.hugePages || before.numaPrefer !== this.ask.numaPrefer;
    this.isMisplaced ||= moves;
    return moves;
  }

  /** Starts the times of its class anew. */
  renew(nowMs: number): void {
    this.renewedMs = nowMs;
    this.sinksMs = nowMs + CLASS_POLICIES[this.priority].maxPinMs;
  }

  /** When it has to be looked at next. @param graceMs how long an ephemeral pin lives without being used */
  dueMs(graceMs: number): number {
    const sinksMs = this.state === "resident" ? this.sinksMs : Infinity;
    return Math.min(sinksMs, this.#endsMs(graceMs));
  }

  /** Its lifetime is over. */
  expired(nowMs: number, graceMs: number): boolean {
    if (nowMs >= this.renewedMs + this.ask.ttlMs) return true;
    if (this.ask.lifetime !== "ephemeral" || nowMs < this.#endsMs(graceMs)) return false;
    return this.running === undefined && !this.referenced;
  }

  #endsMs(graceMs: number): number {
    const unusedMs = this.ask.lifetime === "ephemeral" ? graceMs : Infinity;
    return this.renewedMs + Math.min(this.ask.ttlMs, unusedMs);
  }
}
