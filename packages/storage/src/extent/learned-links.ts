/**
 * Which extents of an actor are used in the same turns: learned, in memory, forgotten with time.
 *
 * State: for each extent up to `DEGREE_MAX` others with the turns that used both, fading by half every ten minutes.
 *
 * C1 a pair that is known has the same weight from both ends, unless one end had to forget it.
 * C2 at the bound the weakest makes way, and only for what is stronger than it has become.
 */
import { Heat } from "../residency/heat.ts";

export const DEGREE_MAX = 16;
/** Of one turn, the first that it used: 28 pairs. */
const USED_MAX = 8;
const HALF_LIFE_MS = 600_000;

export interface LearnedLink {
  readonly to: string;
  /** 0 … 1, exclusive: n turns that have not faded count n / (n + 1). */
  readonly weight: number;
}

export class LearnedLinks {
  readonly #of = new Map<string, Map<string, Heat>>();

  /** A turn has used these. */
  usedTogether(names: readonly string[], nowMs: number): void {
    const count = Math.min(names.length, USED_MAX);
    for (let i = 1; i < count; i++)
      for (let k = 0; k < i; k++) this.#touch(names[i] as string, names[k] as string, nowMs);
  }

  #touch(a: string, b: string, nowMs: number): void {
    const known = this.#of.get(a)?.get(b) ?? this.#of.get(b)?.get(a);
    const heat = known ?? new Heat(HALF_LIFE_MS);
    heat.touch(nowMs);
    this.#put(a, b, heat);
    this.#put(b, a, heat);
  }

  #put(from: string, to: string, heat: Heat): void {
    let links = this.#of.get(from);
    if (links === undefined) this.#of.set(from, (links = new Map()));
    if (links.has(to)) return;
    if (links.size >= DEGREE_MAX) {
      let weakest = to;
      let rank = heat.rank;
      for (const [name, each] of links) {
        if (each.rank >= rank) continue;
        weakest = name;
        rank = each.rank;
      }
      if (weakest === to) return;
      links.delete(weakest);
    }
    links.set(to, heat);
  }

  /** Strongest first. */
  linksOf(name: string, nowMs: number): LearnedLink[] {
    return [...(this.#of.get(name) ?? [])]
      .map(([to, heat]) => ({ to, weight: heat.at(nowMs) }))
      .sort((a, b) => b.weight - a.weight || (a.to < b.to ? -1 : 1));
  }
}
