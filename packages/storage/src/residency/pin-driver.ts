/**
 * Drives an extent through its states (pin-entry.ts): finds room, loads, locks, drops.
 *
 * D1 reserved before loaded, given back after dropped: the budget is never exceeded by a load.
 * D2 each load that succeeded is followed by one drop; per extent, `load`, `lock` and `drop` never overlap.
 * D3 nothing here rejects.
 */
import { isPinionError, type Clock, type PinionError } from "@pinion/core";
import type { PinClaims } from "./pin-claims.ts";
import type { PinEntry } from "./pin-entry.ts";
import type { PinGroups } from "./pin-groups.ts";
import type { PinLedger } from "./pin-ledger.ts";
import type { PinHistory } from "./pin-report.ts";
import type { Placer } from "./placer.ts";
import type {
  DegradedReason,
  EvictionReason,
  LoadReport,
  PinOutcome,
  PinPriority,
} from "./pin-types.ts";

export interface PinDriverParts {
  readonly clock: Clock;
  readonly ledger: PinLedger;
  readonly claims: PinClaims;
  readonly groups: PinGroups;
  readonly history: PinHistory;
  readonly placer: Placer;
  readonly drainWaitMs: number;
  /** Nothing new may come in. */
  readonly held: () => boolean;
  readonly onResident: (entry: PinEntry) => void;
  /** Neither wanted nor in memory. */
  readonly onForgotten: (entry: PinEntry) => void;
}

export class PinDriver {
  readonly #parts: PinDriverParts;

  constructor(parts: PinDriverParts) {
    this.#parts = parts;
  }

  /** Absent or draining → resident and locked, if it can be done and is still wanted then. */
  async bringIn(entry: PinEntry): Promise<PinOutcome> {
    entry.running ??= this.#run(entry);
    return (await entry.running) ?? this.lockedOutcome(entry);
  }

  /** Of a resident entry. */
  async lockedOutcome(entry: PinEntry): Promise<PinOutcome> {
    await this.#settleLock(entry);
    if (entry.state !== "resident") return degradedAs(entry.wanted ? "evicted" : entry.ended);
    if (entry.isLocked) return { kind: "locked" };
    return { kind: "resident", notLocked: entry.notLocked ?? "not-asked" };
  }

  reclass(entry: PinEntry, priority: PinPriority): void {
    const before = entry.priority;
    this.#parts.ledger.reclass(entry, priority);
    if (before === "none") entry.denial = undefined;
    if (entry.state === "resident") void this.#settleLock(entry);
  }

  /** Nobody wants it any more. */
  end(entry: PinEntry, reason: PinEntry["ended"]): void {
    entry.wanted = false;
    entry.ended = reason;
    entry.degraded = undefined;
    this.#parts.claims.cancel(entry);
    entry.abort?.abort();
    if (entry.state === "resident") this.leave(entry, reason);
    this.#forgetIfIdle(entry);
  }

  /** A resident entry goes although somebody wants it. */
  evict(entry: PinEntry, reason: EvictionReason): void {
    this.leave(entry, reason);
    this.#degrade(entry, reason === "type-budget" ? reason : "evicted");
  }

  /** Resident → draining. */
  leave(entry: PinEntry, reason: EvictionReason): void {
    const { clock, history, ledger } = this.#parts;
    history.left(entry.priority, reason, clock.nowMs() - entry.residentSinceMs);
    ledger.startsDraining(entry);
    entry.placement = undefined;
    entry.placing = undefined;
    entry.leaving = this.#drop(entry);
  }

  /** One at a time per entry. Undefined: it is resident, and `running` was cleared in the same step. */
  async #run(entry: PinEntry): Promise<PinOutcome | undefined> {
    // `running` is set when this goes on.
    await Promise.resolve();
    for (;;) {
      const outcome = await this.#attempt(entry);
      if (outcome === "again") continue;
      return outcome === "resident" ? undefined : outcome;
    }
  }

  /** `again`: it was let go and asked for once more in the meantime. */
  async #attempt(entry: PinEntry): Promise<PinOutcome | "resident" | "again"> {
    const { claims, groups, held } = this.#parts;
    if (entry.leaving !== undefined && !(await this.#gone(entry.leaving))) {
      return this.#give(entry, "draining");
    }
    if (!entry.wanted) return this.#give(entry, entry.ended);
    if (held()) return this.#give(entry, "pressure");
    entry.target = entry.wantedTarget;
    const tooMuch = await groups.admit(entry);
    if (entry.wanted && entry.target !== entry.wantedTarget) {
      groups.leave(entry);
      return "again";
    }
    if (tooMuch !== undefined || !entry.wanted) {
      groups.leave(entry);
      return this.#give(entry, entry.wanted ? (tooMuch ?? "type-budget") : entry.ended);
    }
    const refusal = await claims.claim(entry);
    if (!entry.wanted || entry.target !== entry.wantedTarget || refusal === "cancelled") {
      const bytes = this.#clear(entry);
      if (refusal === undefined) claims.freed(bytes);
      return entry.wanted ? "again" : this.#give(entry, entry.ended);
    }
    if (refusal === undefined) return this.#load(entry);
    groups.leave(entry);
    return this.#give(entry, refusal);
  }

  /** @returns what was reserved for it in the budget, for the caller to give back */
  #clear(entry: PinEntry): number {
    this.#parts.groups.leave(entry);
    return this.#parts.ledger.clear(entry);
  }

  async #load(entry: PinEntry): Promise<PinOutcome | "resident" | "again"> {
    const { claims, clock, ledger, placer, onResident } = this.#parts;
    const { target, ask } = entry;
    const abort = new AbortController();
    entry.abort = abort;
    entry.state = "loading";
    entry.isMisplaced = false;
    const placing = placer.place({
      dataKind: target.dataKind,
      pageUse: target.pageUse,
      byteCount: entry.bytes,
      numaPrefer: ask.numaPrefer,
      hugePages: ask.hugePages,
    });
    let report: LoadReport = {};
    const failure = await target.load({ placing, onFault: ask.onFault }, abort.signal).then(
      (loaded) => void (report = loaded),
      (e: unknown) => ({ error: isPinionError(e) ? e : undefined }),
    );
    placing.settle();
    entry.abort = undefined;
    if (typeof failure === "object") {
      const bytes = this.#clear(entry);
      ledger.becameAbsent(entry);
      claims.freed(bytes);
      if (!entry.wanted) return this.#give(entry, entry.ended);
      if (abort.signal.aborted) return "again";
      return this.#give(entry, reasonOf(failure.error), failure.error);
    }
    ledger.becameResident(entry);
    entry.residentSinceMs = clock.nowMs();
    if (!entry.wanted || entry.wantedTarget !== target) {
      this.leave(entry, entry.wanted ? "unpinned" : entry.ended);
      return entry.wanted ? "again" : this.#give(entry, entry.ended);
    }
    entry.running = undefined;
    entry.degraded = undefined;
    entry.placing = { ...placing, ...report };
    onResident(entry);
    return "resident";
  }

  /** Locked in any class but `none`. */
  #settleLock(entry: PinEntry): Promise<void> {
    entry.locking ??= this.#lockAsAsked(entry);
    return entry.locking;
  }

  async #lockAsAsked(entry: PinEntry): Promise<void> {
    // `locking` is set when this goes on.
    await Promise.resolve();
    while (entry.state === "resident" && entry.locked !== (entry.priority !== "none")) {
      if (entry.locked) {
        entry.target.unlock();
        entry.locked = false;
      } else {
        if (entry.denial !== undefined) break;
        entry.denial = await entry.target.lock(entry.ask.onFault);
        entry.locked = entry.denial === undefined;
      }
    }
    entry.locking = undefined;
  }

  async #drop(entry: PinEntry): Promise<void> {
    const { claims, ledger } = this.#parts;
    await entry.locking;
    const { target } = entry;
    if (entry.locked) target.unlock();
    entry.locked = false;
    entry.denial = undefined;
    await target.drop();
    const bytes = this.#clear(entry);
    ledger.becameAbsent(entry);
    entry.leaving = undefined;
    claims.freed(bytes);
    this.#forgetIfIdle(entry);
  }

  /** @returns false when it takes too long */
  #gone(leaving: Promise<void>): Promise<boolean> {
    const { clock, drainWaitMs } = this.#parts;
    return new Promise((resolve) => {
      const timer = clock.setTimer(drainWaitMs, () => resolve(false));
      void leaving.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }

  /** The attempt ends without memory. In one step, so that a pin from now on begins a new one. */
  #give(entry: PinEntry, reason: DegradedReason, error?: PinionError): PinOutcome {
    entry.running = undefined;
    this.#degrade(entry, reason, error);
    this.#forgetIfIdle(entry);
    return degradedAs(reason, error);
  }

  #degrade(entry: PinEntry, reason: DegradedReason, error?: PinionError): void {
    this.#parts.history.degradedBy(reason);
    if (entry.wanted) entry.degraded = { reason, error };
  }

  #forgetIfIdle(entry: PinEntry): void {
    if (!entry.wanted && entry.idle) this.#parts.onForgotten(entry);
  }
}

export function degradedAs(reason: DegradedReason, error?: PinionError): PinOutcome {
  return { kind: "degraded", reason, error };
}

function reasonOf(error: PinionError | undefined): DegradedReason {
  if (error?.code === "corruption") return "corruption";
  return error?.code === "overloaded" ? "no-memory" : "io-error";
}
