/**
 * Whose bytes are counted where: per class, and those that are draining.
 *
 * L1 `usedBytes[c]` is the sum of `bytes` over the entries counted as c, at any time; all sums together are what this worker has
 *    reserved of the budget.
 * L2 `residents(c)` are the entries in state resident whose class is c: those that may be told to go.
 */
import { assert } from "@pinion/core";
import type { LedgerClass, PinEntry } from "./pin-entry.ts";
import type { PinPriority } from "./pin-types.ts";

export class PinLedger {
  readonly usedBytes: Record<LedgerClass, number> = {
    "tail-latency-critical": 0,
    "query-critical": 0,
    background: 0,
    none: 0,
    draining: 0,
  };
  readonly #residents: Readonly<Record<PinPriority, Set<PinEntry>>> = {
    "tail-latency-critical": new Set(),
    "query-critical": new Set(),
    background: new Set(),
    none: new Set(),
  };

  get totalBytes(): number {
    let total = 0;
    for (const bytes of Object.values(this.usedBytes)) total += bytes;
    return total;
  }

  residents(priority: PinPriority): ReadonlySet<PinEntry> {
    return this.#residents[priority];
  }

  take(entry: PinEntry, byteCount: number): void {
    entry.bytes += byteCount;
    this.usedBytes[entry.countedAs] += byteCount;
  }

  /** @returns what was reserved for it, for the caller to give back */
  clear(entry: PinEntry): number {
    const { bytes } = entry;
    this.usedBytes[entry.countedAs] -= bytes;
    entry.bytes = 0;
    return bytes;
  }

  becameResident(entry: PinEntry): void {
    entry.state = "resident";
    this.#residents[entry.priority].add(entry);
  }

  startsDraining(entry: PinEntry): void {
    assert(entry.state === "resident", `${entry.key} is ${entry.state} and cannot drain`);
    entry.state = "draining";
    this.#residents[entry.priority].delete(entry);
    this.#count(entry, "draining");
  }

  /** Its memory is gone and was given back. */
  becameAbsent(entry: PinEntry): void {
    assert(entry.bytes === 0, `${entry.key} still has ${entry.bytes} bytes`);
    entry.state = "absent";
    this.#count(entry, entry.priority);
  }

  reclass(entry: PinEntry, priority: PinPriority): void {
    if (entry.state === "resident") {
      this.#residents[entry.priority].delete(entry);
      this.#residents[priority].add(entry);
    }
    entry.priority = priority;
    if (entry.countedAs !== "draining") this.#count(entry, priority);
  }

  #count(entry: PinEntry, as: LedgerClass): void {
    this.usedBytes[entry.countedAs] -= entry.bytes;
    this.usedBytes[as] += entry.bytes;
    entry.countedAs = as;
  }
}
