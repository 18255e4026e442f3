/**
 * Finds out where resident extents really are: a few at a time, one after the other, each on a thread of its memory.
 *
 * State: who came in and was not looked at yet; how far the round over all entries has got.
 *
 * S1 what a look costs the event loop does not depend on how many extents there are, or how large: at most `LOOKED_AT` entries are passed,
 *    at most `MEASURED` of them measured. A look that took long, because the kernel is slow to answer or its threads had loads to do, is
 *    followed by a pause of `PAUSE` times as long.
 * S2 on a machine with one node, extents below 2 MiB are not asked about: they can be nowhere else, and in no larger pages.
 */
import type { Clock } from "@pinion/core";
import type { RangePlacement } from "../memory/memory-door.ts";
import type { PinEntry } from "./pin-entry.ts";
import type { PinKey } from "./pin-types.ts";
import type { Placer } from "./placer.ts";

const LOOKED_AT = 256;
const MEASURED = 32;
const PAUSE = 20;
const HUGE_PAGE_BYTES = 2 * 1024 * 1024;
/** How long a measurement counts: memory moves seldom, and only when the kernel or we move it. */
const FRESH_MS = 60_000;
/** Came in since the last look; beyond it the round finds them. */
const NEW_MAX = 1_024;

export class PlacementSampler {
  readonly #clock: Clock;
  readonly #entries: ReadonlyMap<PinKey, PinEntry>;
  readonly #placer: Placer;
  readonly #new = new Set<PinEntry>();
  #round: Iterator<PinEntry> | undefined;
  #looking: Promise<void> | undefined;
  #pausedUntilMs = -Infinity;

  constructor(clock: Clock, entries: ReadonlyMap<PinKey, PinEntry>, placer: Placer) {
    this.#clock = clock;
    this.#entries = entries;
    this.#placer = placer;
  }

  cameIn(entry: PinEntry): void {
    entry.measuredMs = -Infinity;
    if (entry.bytes < HUGE_PAGE_BYTES && this.#placer.oneNode) {
      // S2
      entry.placement = {
        bytesByNode: new Map([[this.#placer.home, entry.bytes]]),
        hugeBytes: 0,
      };
      entry.measuredMs = Infinity;
    } else if (this.#new.size < NEW_MAX) this.#new.add(entry);
  }

  /** One look at a time: who asks during one waits for it. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    return this.#looking;
  }

  /** Resolves once nothing is being asked. */
  async idle(): Promise<void> {
    this.#new.clear();
    await this.#looking;
  }

  async #look(): Promise<void> {
    const startMs = this.#clock.nowMs();
    if (startMs < this.#pausedUntilMs) return;
    const chosen = [...this.#new].slice(0, MEASURED);
    for (const entry of chosen) this.#new.delete(entry);
    const before = startMs - FRESH_MS;
    for (let passed = 0; passed < LOOKED_AT && chosen.length < MEASURED; passed++) {
      this.#round ??= this.#entries.values()[Symbol.iterator]();
      const next = this.#round.next();
      if (next.done === true) {
        this.#round = undefined;
        break;
      }
      if (next.value.state === "resident" && next.value.measuredMs <= before)
        if (!chosen.includes(next.value)) chosen.push(next.value);
    }
    for (const entry of chosen) await this.measure(entry);
    const endMs = this.#clock.nowMs();
    this.#pausedUntilMs = endMs + PAUSE * (endMs - startMs);
  }

  /** What has gone meanwhile has no place. */
  async measure(entry: PinEntry): Promise<void> {
    if (entry.state !== "resident") return;
    const { target, residentSinceMs } = entry;
    entry.measuredMs = this.#clock.nowMs();
    const found = await target.measure();
    // It may have gone, and even come back, meanwhile.
    const same = entry.target === target && entry.residentSinceMs === residentSinceMs;
    if (entry.state === "resident" && same)
      entry.placement = found && this.#completed(entry, found);
  }

  /** Of a machine with one node there is nothing to ask. */
  #completed({ bytes }: PinEntry, found: RangePlacement): RangePlacement {
    if (found.bytesByNode !== undefined || !this.#placer.oneNode) return found;
    return { ...found, bytesByNode: new Map([[this.#placer.home, bytes]]) };
  }
}
