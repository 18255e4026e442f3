/**
 * Keeps actor types within their own bounds: before an extent may ask for room in the budget, it has to have room in that of its type.
 *
 * State: for each bounded type what this worker has of it.
 *
 * G1 what a type lacks is taken from its own extents, never from those of others: lower classes first, in the same class only what is colder, and never
 *    what a turn is using.
 * G2 where that is not enough nobody goes, and the extent is degraded with `type-budget`.
 * G3 reserved before the budget is, given back when the memory is gone.
 */
import type { Clock } from "@pinion/core";
import type { PinEntry } from "./pin-entry.ts";
import { rankOf, type PinBudget } from "./pin-types.ts";
import type { TypeBudget, TypeBudgetCells } from "./type-budgets.ts";

const PAGE_BYTES = 4096;

/** A bounded type, as one worker counts it. */
export interface BoundedType {
  readonly type: string;
  readonly budget: TypeBudget;
  readonly cells: TypeBudgetCells;
}

export interface TypeUse {
  readonly type: string;
  readonly limitBytes: number;
  /** By all workers of the host. */
  readonly usedBytes: number;
  /** Extents of this worker, in memory or on their way. */
  readonly extents: number;
}

export interface PinGroupsParts {
  readonly clock: Clock;
  readonly budget: PinBudget;
  readonly types: readonly BoundedType[];
  readonly drainWaitMs: number;
  readonly evict: (victim: PinEntry) => void;
}

interface Group extends BoundedType {
  /** With the pages each has reserved. */
  readonly members: Map<PinEntry, number>;
}

const pagesOf = (byteCount: number): number => Math.ceil(byteCount / PAGE_BYTES);

export class PinGroups {
  readonly #parts: PinGroupsParts;
  readonly #groups: ReadonlyMap<string, Group>;

  constructor(parts: PinGroupsParts) {
    this.#parts = parts;
    this.#groups = new Map(
      parts.types.map((each) => [each.type, { ...each, members: new Map() }] as const),
    );
  }

  /** Undefined: it may come in, as far as its type goes; ends with `leave`. */
  admit(entry: PinEntry): Promise<"type-budget" | undefined> | "type-budget" | undefined {
    const group = this.#groupOf(entry);
    if (group === undefined) return undefined;
    const limitBytes = this.#limitOf(group);
    const { bytes } = entry.target;
    if (this.#reserve(group, entry, bytes)) return undefined;
    if (bytes > limitBytes) return "type-budget";
    const leaving = this.#makeRoom(group, entry, group.cells.usedBytes + bytes - limitBytes);
    return leaving === undefined ? "type-budget" : this.#afterwards(group, entry, leaving);
  }

  /** Without waiting, and without anybody going: for who must not take more than is free. */
  hasRoom(entry: PinEntry): boolean {
    const group = this.#groupOf(entry);
    if (group === undefined) return true;
    return group.cells.usedBytes + entry.target.bytes <= this.#limitOf(group);
  }

  /** A member takes another amount from now on. @returns false where there is no room, and then nothing has changed */
  resize(entry: PinEntry, byteCount: number): boolean {
    const group = this.#groupOf(entry);
    const before = group?.members.get(entry);
    if (group === undefined || before === undefined) return true;
    const more = pagesOf(byteCount) - before;
    if (more > 0 && !group.cells.reserve(more, this.#limitOf(group))) return false;
    if (more < 0) group.cells.release(-more);
    group.members.set(entry, before + more);
    return true;
  }

  /** It has no memory, and is not about to get some. Harmless for one that was not admitted. */
  leave(entry: PinEntry): void {
    const group = this.#groupOf(entry);
    const pages = group?.members.get(entry);
    if (group === undefined || pages === undefined) return;
    group.members.delete(entry);
    group.cells.release(pages);
  }

  stats(): TypeUse[] {
    return [...this.#groups.values()].map((group) => ({
      type: group.type,
      limitBytes: this.#limitOf(group),
      usedBytes: group.cells.usedBytes,
      extents: group.members.size,
    }));
  }

  #groupOf({ target }: PinEntry): Group | undefined {
    return target.type === undefined ? undefined : this.#groups.get(target.type);
  }

  #limitOf({ budget: { pinBytesMax = Infinity, pinShareMax = 1 } }: Group): number {
    return Math.min(pinBytesMax, pinShareMax * this.#parts.budget.limitBytes);
  }

  #reserve(group: Group, entry: PinEntry, byteCount: number): boolean {
    const pages = pagesOf(byteCount);
    if (!group.cells.reserve(pages, this.#limitOf(group))) return false;
    group.members.set(entry, pages);
    return true;
  }

  /** @returns those that are on their way out; undefined: they would not be enough (G2) */
  #makeRoom(group: Group, entry: PinEntry, missingBytes: number): Promise<void>[] | undefined {
    let missing = missingBytes;
    const leaving: Promise<void>[] = [];
    const mayGo: PinEntry[] = [];
    for (const [member, pages] of group.members) {
      if (member.leaving !== undefined) {
        missing -= pages * PAGE_BYTES;
        leaving.push(member.leaving);
      } else if (member.state === "resident" && goesFirst(member, entry)) mayGo.push(member);
    }
    mayGo.sort((a, b) => rankOf(b.priority) - rankOf(a.priority) || a.heatRank - b.heatRank);
    const victims: PinEntry[] = [];
    for (const member of mayGo) {
      if (missing <= 0) break;
      victims.push(member);
      missing -= (group.members.get(member) as number) * PAGE_BYTES;
    }
    if (missing > 0) return undefined;
    for (const victim of victims) {
      this.#parts.evict(victim);
      if (victim.leaving !== undefined) leaving.push(victim.leaving);
    }
    return leaving;
  }

  async #afterwards(
    group: Group,
    entry: PinEntry,
    leaving: readonly Promise<void>[],
  ): Promise<"type-budget" | undefined> {
    const { clock, drainWaitMs } = this.#parts;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(drainWaitMs, resolve);
      void Promise.all(leaving).then(() => {
        timer.cancel();
        resolve();
      });
    });
    return this.#reserve(group, entry, entry.target.bytes) ? undefined : "type-budget";
  }
}

/** G1. */
function goesFirst(member: PinEntry, entry: PinEntry): boolean {
  if (member.referenced) return false;
  const lower = rankOf(member.priority) - rankOf(entry.priority);
  return lower > 0 || (lower === 0 && member.heatRank < entry.heatRank);
}
