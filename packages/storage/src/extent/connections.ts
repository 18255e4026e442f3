/** What an extent is connected with: what was set (extent-facts.ts) and what was learned (learned-links.ts) as one list. */
import type { ExtentLink, LinkKind } from "./extent-facts.ts";
import type { LearnedLink } from "./learned-links.ts";

export interface ConnectedExtent {
  readonly to: string;
  /** Kinds that were set, of the extent's facts. */
  readonly set: readonly LinkKind[];
  /** The largest that was set, and what was learned. */
  readonly weight: number;
  /** 0 … 1: how often turns have used both, fading. */
  readonly learned: number;
}

/** The strongest first. */
export function connectionsOf(
  links: readonly ExtentLink[],
  learned: readonly LearnedLink[],
): ConnectedExtent[] {
  const found = new Map<string, ConnectedExtent>();
  for (const { to, kind, weight } of links) {
    const known = found.get(to);
    const set = [...(known?.set ?? []), kind];
    found.set(to, { to, set, weight: Math.max(weight, known?.weight ?? 0), learned: 0 });
  }
  for (const { to, weight } of learned) {
    const known = found.get(to);
    const sum = weight + (known?.weight ?? 0);
    found.set(to, { to, set: known?.set ?? [], weight: sum, learned: weight });
  }
  return [...found.values()].sort((a, b) => b.weight - a.weight || (a.to < b.to ? -1 : 1));
}
