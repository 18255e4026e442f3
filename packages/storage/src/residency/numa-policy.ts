/** Where memory goes, and whether it should move: pure decisions over the topology and what was measured. */
import type { NumaPolicy } from "../memory/memory-door.ts";
import { nodesByDistance, type NumaTopology } from "./numa-topology.ts";

/** `hot-table`: large, and read in every turn. `cold`: read rarely, by anybody. `shared-metadata`: small, beside others in one huge page. */
export type DataKind = "hot-table" | "cold" | "shared-metadata" | "other";

/** @param home the worker's node */
export function numaPolicyFor(kind: DataKind, topology: NumaTopology, home: number): NumaPolicy {
  const nodes = nodesByDistance(topology, home);
  if (nodes.length <= 1) return { kind: "local" };
  switch (kind) {
    case "hot-table":
      // A node without memory cannot be bound to: the nearest one that has some.
      return { kind: "bind", nodes: nodes.slice(0, 1) };
    case "cold":
      return { kind: "interleave", nodes: nodes.toSorted((a, b) => a - b) };
    case "shared-metadata":
      return { kind: "preferred", nodes: nodes.slice(0, 1) };
    case "other":
      return { kind: "local" };
  }
}

/** Of the bytes in memory; undefined when there are none. */
export function localShare(bytes: ReadonlyMap<number, number>, node: number): number | undefined {
  let total = 0;
  for (const each of bytes.values()) total += each;
  return total === 0 ? undefined : (bytes.get(node) ?? 0) / total;
}

/** When an extent whose memory is on the wrong node moves: never, when somebody is about to use it, or whenever it is found. */
export const MIGRATION_POLICIES = Object.freeze(["disabled", "on-access", "proactive"] as const);
export type MigrationPolicy = (typeof MIGRATION_POLICIES)[number];

export interface MigrationQuestion {
  /** Measured share of its memory where it should be; undefined: not in memory, or nobody can tell. */
  readonly localShare: number | undefined;
  /** Somebody is about to use it. */
  readonly accessed: boolean;
  /** Turns that are using it: then it cannot move. */
  readonly references: number;
  /** Share on other nodes above which moving is worth it. */
  readonly missShareMax: number;
}

export function shouldMigrate(policy: MigrationPolicy, question: MigrationQuestion): boolean {
  const { localShare: share, accessed, references, missShareMax } = question;
  if (policy === "disabled" || references > 0 || share === undefined) return false;
  if (policy === "on-access" && !accessed) return false;
  return 1 - share > missShareMax;
}
