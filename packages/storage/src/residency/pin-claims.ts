/**
 * Finds room in the budget. A claim takes what is free, tells others to go for the rest, and waits until they are gone.
 *
 * State: the claims that wait, at most one per entry, each with a deadline.
 *
 * C1 bytes are reserved before memory is brought in, and stay reserved until it was given back: the budget holds at any instant.
 * C2 what becomes free goes straight to the claims that wait, important ones first, without being given back in between: nobody else
 *    gets what somebody had to go for.
 * C3 after the limit was lowered, what becomes free first makes up for it.
 */
import type { Clock, Timer } from "@pinion/core";
import type { PinEntry } from "./pin-entry.ts";
import type { PinLedger } from "./pin-ledger.ts";
import { makeRoom, shareBytes } from "./pin-policy.ts";
import { rankOf, type DegradedReason, type PinBudget } from "./pin-types.ts";

export type Refusal = Extract<DegradedReason, "budget" | "too-large" | "draining"> | "cancelled";

interface Claim {
  readonly entry: PinEntry;
  readonly timer: Timer;
  readonly settle: (refusal: Refusal | undefined) => void;
  missingBytes: number;
}

export interface PinClaimsParts {
  readonly clock: Clock;
  readonly budget: PinBudget;
  readonly ledger: PinLedger;
  /** How long a claim waits for turns to end. */
  readonly drainWaitMs: number;
  readonly evict: (victim: PinEntry) => void;
}

export class PinClaims {
  readonly #parts: PinClaimsParts;
  #waiting: Claim[] = [];
  #wantedMs: number | undefined;

  constructor(parts: PinClaimsParts) {
    this.#parts = parts;
  }

  /** Bytes that are draining and that no claim waits for. */
  get unpromisedBytes(): number {
    let promised = 0;
    for (const claim of this.#waiting) promised += claim.missingBytes;
    return Math.max(0, this.#parts.ledger.usedBytes.draining - promised);
  }

  /** Reserves all that `entry.target` takes, or nothing. */
  async claim(entry: PinEntry): Promise<Refusal | undefined> {
    const { budget, ledger, evict } = this.#parts;
    const { bytes } = entry.target;
    if (bytes > budget.limitBytes) return "too-large";
    const used = { ...ledger.usedBytes };
    ledger.take(entry, budget.reserveUpTo(bytes));
    const missingBytes = bytes - entry.bytes;
    if (missingBytes === 0) {
      this.#stopWanting();
      return undefined;
    }
    const victims = makeRoom<PinEntry>(
      { priority: entry.priority, bytes, missingBytes },
      {
        fairBytes: budget.fairBytes,
        usedBytes: used,
        incomingBytes: Math.max(0, this.unpromisedBytes - budget.overBytes),
        candidates: (priority) => ledger.residents(priority),
      },
    );
    if (victims === undefined) {
      this.freed(ledger.clear(entry));
      const { priority } = entry;
      if (used[priority] + bytes <= shareBytes(priority, budget.fairBytes))
        this.#want(missingBytes);
      return "budget";
    }
    const settled = this.#wait(entry, missingBytes);
    for (const victim of victims) evict(victim);
    return settled;
  }

  /** Nobody wants it any more. Harmless for an entry that does not wait. */
  cancel(entry: PinEntry): void {
    this.#refuse(entry, "cancelled");
  }

  /** Memory was given back: to those who wait, and to the budget. */
  freed(byteCount: number): void {
    const { budget, ledger } = this.#parts;
    let left = Math.max(0, byteCount - budget.overBytes);
    let given = 0;
    for (const claim of this.#waiting.toSorted(
      (a, b) => rankOf(a.entry.priority) - rankOf(b.entry.priority),
    )) {
      const part = Math.min(left, claim.missingBytes);
      if (part === 0) continue;
      ledger.take(claim.entry, part);
      claim.missingBytes -= part;
      left -= part;
      given += part;
      if (claim.missingBytes === 0) this.#end(claim, undefined);
    }
    budget.release(byteCount - given);
  }

  /** Takes back what was told to other workers, once they had `forMs` to hear it. */
  wantingUntil(nowMs: number, forMs: number): void {
    if (this.#wantedMs === undefined || nowMs - this.#wantedMs < forMs) return;
    this.#stopWanting();
  }

  #stopWanting(): void {
    if (this.#wantedMs === undefined) return;
    this.#wantedMs = undefined;
    this.#parts.budget.want(0);
  }

  #want(byteCount: number): void {
    this.#wantedMs = this.#parts.clock.nowMs();
    this.#parts.budget.want(byteCount);
  }

  #wait(entry: PinEntry, missingBytes: number): Promise<Refusal | undefined> {
    const { clock, drainWaitMs } = this.#parts;
    return new Promise((settle) => {
      const timer = clock.setTimer(drainWaitMs, () => this.#refuse(entry, "draining"));
      this.#waiting.push({ entry, timer, settle, missingBytes });
    });
  }

  #refuse(entry: PinEntry, refusal: Refusal): void {
    const claim = this.#waiting.find((each) => each.entry === entry);
    if (claim === undefined) return;
    this.#end(claim, refusal);
    this.freed(this.#parts.ledger.clear(entry));
  }

  #end(claim: Claim, refusal: Refusal | undefined): void {
    this.#waiting = this.#waiting.filter((each) => each !== claim);
    claim.timer.cancel();
    claim.settle(refusal);
  }
}
