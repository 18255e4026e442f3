/**
 * Finds extents of one actor by their attributes. A value: made from the facts as they are, replaced when they change.
 *
 * N1 a lookup by number looks at nothing but what it finds; one by time also at buckets that one before them reaches beyond.
 * N2 extents come in the order of their names, those of time buckets in the order of time.
 */
import { PinionError } from "@pinion/core";
import type { ExtentFacts, TimeBucket } from "./extent-facts.ts";

/** Exactly one of them. */
export interface ExtentQuery {
  readonly rowGroup?: number;
  readonly partition?: number;
  /** The bucket this time is in. */
  readonly atMs?: number;
  /** Buckets that have something of this one. */
  readonly within?: TimeBucket;
}

interface Bucket extends TimeBucket {
  readonly name: string;
  /** The latest end of this one and all before. */
  readonly endMsMax: number;
}

const QUERIES = ["rowGroup", "partition", "atMs", "within"] as const;

/** @throws `invalid-argument` */
function checkQuery(query: ExtentQuery): void {
  const given = QUERIES.filter((name) => query[name] !== undefined);
  const numbers = [query.rowGroup, query.partition, query.atMs, query.within?.fromMs];
  const isClear =
    given.length === 1 &&
    [...numbers, query.within?.toMs].every((n) => n === undefined || typeof n === "number");
  if (isClear) return;
  throw new PinionError(
    "invalid-argument",
    `extents are found by one of ${QUERIES.join(", ")}; this query has ${given.join(" and ") || "none"}`,
  );
}

export class ExtentIndex {
  readonly #byRowGroup = new Map<number, string[]>();
  readonly #byPartition = new Map<number, string[]>();
  /** By begin. */
  readonly #buckets: readonly Bucket[];

  constructor(extents: Iterable<readonly [name: string, facts: ExtentFacts]>) {
    const buckets: (TimeBucket & { readonly name: string })[] = [];
    for (const [name, { attributes }] of extents) {
      const { rowGroup, partition, timeBucket } = attributes;
      if (rowGroup !== undefined) put(this.#byRowGroup, rowGroup, name);
      if (partition !== undefined) put(this.#byPartition, partition, name);
      if (timeBucket !== undefined) buckets.push({ ...timeBucket, name });
    }
    for (const names of [...this.#byRowGroup.values(), ...this.#byPartition.values()])
      names.sort(byText);
    buckets.sort((a, b) => a.fromMs - b.fromMs || byText(a.name, b.name));
    let endMsMax = -Infinity;
    this.#buckets = buckets.map((bucket) => {
      endMsMax = Math.max(endMsMax, bucket.toMs);
      return { ...bucket, endMsMax };
    });
  }

  /** @returns names (N2) @throws `invalid-argument` */
  find(query: ExtentQuery): string[] {
    checkQuery(query);
    const { rowGroup, partition, atMs, within } = query;
    if (rowGroup !== undefined) return [...(this.#byRowGroup.get(rowGroup) ?? [])];
    if (partition !== undefined) return [...(this.#byPartition.get(partition) ?? [])];
    if (atMs !== undefined) return this.#overlapping(this.#begunBy(atMs, true), atMs);
    const { fromMs, toMs } = within as TimeBucket;
    return fromMs < toMs ? this.#overlapping(this.#begunBy(toMs, false), fromMs) : [];
  }

  /** How many buckets begin before a time, or at it. */
  #begunBy(ms: number, inclusive: boolean): number {
    let low = 0;
    let high = this.#buckets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { fromMs } = this.#buckets[middle] as Bucket;
      if (fromMs < ms || (inclusive && fromMs === ms)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Of the first `count` buckets, those that end behind a time. */
  #overlapping(count: number, fromMs: number): string[] {
    const found: string[] = [];
    for (let i = count - 1; i >= 0; i--) {
      const { toMs, endMsMax, name } = this.#buckets[i] as Bucket;
      if (endMsMax <= fromMs) break;
      if (toMs > fromMs) found.push(name);
    }
    return found.reverse();
  }
}

function put(names: Map<number, string[]>, key: number, name: string): void {
  const known = names.get(key);
  if (known === undefined) names.set(key, [name]);
  else known.push(name);
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
