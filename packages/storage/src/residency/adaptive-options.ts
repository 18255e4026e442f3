/** When the adaptive controller acts. */
import { PinionError } from "@pinion/core";
import { MIGRATION_POLICIES, type MigrationPolicy } from "./numa-policy.ts";
import { checkBounds, invalidOption } from "./option-bounds.ts";

export interface AdaptiveOptions {
  /** Heat from which an extent is pinned, or promoted, as query-critical. Default 0.7. Lower pins more. */
  readonly promoteHeat?: number;
  /** Heat from which it is tail-latency-critical. Default 0.9. */
  readonly criticalHeat?: number;
  /** Heat below which it may be demoted or evicted. Default 0.3. */
  readonly coldHeat?: number;
  /** Share of the budget above which cold extents go. Default 0.85. */
  readonly budgetPressure?: number;
  /** Major faults a second above which it pins from `faultPromoteHeat` on. Default 1,000. */
  readonly faultsPerSecond?: number;
  /** Default 0.5; at most `promoteHeat`. */
  readonly faultPromoteHeat?: number;
  /** Share of memory on other nodes above which extents move. Default 0.3. */
  readonly numaMiss?: number;
  /** Which extents move. Default `proactive`: whatever is found at a rebalancing; `on-access`: those that a hint announces. */
  readonly migration?: MigrationPolicy;
  /** How long it only watches, but for budget pressure. Default 30 min. */
  readonly learningMs?: number;
  /** How often NUMA placement is looked at. Default 10 min. */
  readonly rebalanceMs?: number;
  /** How often it looks at heat, faults and budget. Default 10 s. */
  readonly intervalMs?: number;
  /** Extents it promotes, and extents it moves, at a time. Default 16. */
  readonly changesMax?: number;
}

export type ResolvedAdaptiveOptions = Readonly<Required<AdaptiveOptions>>;

const MINUTE_MS = 60_000;
const SHARE = { min: 0, max: 1 };

const DEFAULTS: ResolvedAdaptiveOptions = Object.freeze({
  promoteHeat: 0.7,
  criticalHeat: 0.9,
  coldHeat: 0.3,
  budgetPressure: 0.85,
  faultsPerSecond: 1_000,
  faultPromoteHeat: 0.5,
  numaMiss: 0.3,
  migration: "proactive",
  learningMs: 30 * MINUTE_MS,
  rebalanceMs: 10 * MINUTE_MS,
  intervalMs: 10_000,
  changesMax: 16,
});

const BOUNDS = {
  promoteHeat: SHARE,
  criticalHeat: SHARE,
  coldHeat: SHARE,
  budgetPressure: SHARE,
  faultsPerSecond: { min: 0, max: 1e9 },
  faultPromoteHeat: SHARE,
  numaMiss: SHARE,
  learningMs: { min: 0, max: 24 * 60 * MINUTE_MS },
  rebalanceMs: { min: 1_000, max: 24 * 60 * MINUTE_MS },
  intervalMs: { min: 100, max: 10 * MINUTE_MS },
  changesMax: { min: 1, max: 1_000, whole: true },
} as const;

/** @throws `config-invalid` */
export function resolveAdaptiveOptions(options: AdaptiveOptions = {}): ResolvedAdaptiveOptions {
  const resolved = { ...DEFAULTS, ...options };
  checkBounds("adaptive", BOUNDS, resolved);
  if (!MIGRATION_POLICIES.includes(resolved.migration)) {
    throw new PinionError(
      "config-invalid",
      `adaptive.migration is ${resolved.migration}: it must be one of ${MIGRATION_POLICIES.join(", ")}`,
      { details: { key: "adaptive.migration", value: resolved.migration } },
    );
  }
  const { coldHeat, faultPromoteHeat, promoteHeat, criticalHeat } = resolved;
  const ordered =
    coldHeat <= faultPromoteHeat && faultPromoteHeat <= promoteHeat && promoteHeat <= criticalHeat;
  if (!ordered) {
    throw invalidOption(
      "adaptive.promoteHeat",
      promoteHeat,
      "must be ordered with the others: coldHeat ≤ faultPromoteHeat ≤ promoteHeat ≤ criticalHeat",
    );
  }
  return Object.freeze(resolved);
}
