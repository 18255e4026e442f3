/**
 * Seeded random runs of the pin manager against a model that only watches the ports: what was loaded, locked, dropped, and who was in
 * use. After every step everything must add up.
 */
import { seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { MIB, PinHost, type TestTarget } from "./residency.test.fixture.ts";
import type { PinState } from "./pin-entry.ts";
import { shareBytes } from "./pin-policy.ts";
import {
  PIN_PRIORITIES,
  type PinLifetime,
  type PinOutcome,
  type PinPriority,
} from "./pin-types.ts";

const SEEDS = 24;
const STEPS = 250;
const KEYS = Array.from({ length: 14 }, (_, i) => `actor/${i % 5}#extent-${i}`);
const LIFETIMES: readonly PinLifetime[] = ["ephemeral", "session", "task", "long-lived"];

/** What a target may be while the manager believes a state: it learns of changes a moment later. */
const SEEN_AS: Readonly<Record<PinState, readonly TestTarget["state"][]>> = {
  absent: ["absent"],
  loading: ["loading", "resident", "absent"],
  resident: ["resident"],
  draining: ["resident", "dropping", "absent"],
};

class Run {
  readonly rng: Rng;
  readonly host = new PinHost(24 * MIB, { drainWaitMs: 500 });
  limitBytes = 24 * MIB;
  /** Outcomes that have not come yet. */
  open = 0;
  readonly outcomes: PinOutcome[] = [];
  /** Since the limit was lowered below what was used. */
  ceilingBytes = this.limitBytes;

  constructor(seed: number) {
    this.rng = seededRng(seed);
    this.host.pins.start();
    for (const key of KEYS) this.host.target(key, (1 + this.rng.below(6)) * MIB);
  }

  get targets(): TestTarget[] {
    return [...this.host.targets.values()];
  }

  async step(): Promise<string> {
    const { rng, host } = this;
    const { pins } = host;
    const key = rng.pick(KEYS);
    const target = host.target(key);
    switch (rng.below(12)) {
      case 0:
      case 1:
      case 2:
        return this.pin(key);
      case 3:
        pins.unpin(key);
        return `unpin ${key}`;
      case 4:
        return `renew ${key}: ${pins.renew(key)}`;
      case 5: {
        const priority = rng.pick(PIN_PRIORITIES);
        return `promote ${key} ${priority}: ${pins.promote(key, priority)}`;
      }
      case 6:
        return `acquire ${key}: ${target.acquire()}`;
      case 7:
        for (const each of this.targets) if (each.references > 0 && rng.chance(0.5)) each.release();
        return "turns end";
      case 8: {
        const ms = rng.pick([0, 1, 50, 700, 3_000, 9_000]);
        await host.clock.advance(ms);
        return `${ms} ms pass`;
      }
      case 9:
        this.limitBytes = rng.pick([4, 8, 16, 24, 24, 24]) * MIB;
        host.counter.setLimit(this.limitBytes);
        if (rng.chance(0.5)) pins.enforceLimit();
        return `limit ${this.limitBytes / MIB}`;
      case 10:
        target.fault = rng.chance(0.7)
          ? undefined
          : rng.pick(["io-error", "corruption", "overloaded"]);
        target.denial = rng.chance(0.7) ? undefined : "limit";
        target.loadMs = rng.pick([0, 0, 5, 900]);
        target.lockMs = rng.pick([0, 0, 5, 300]);
        target.dropMs = rng.pick([0, 0, 5, 900]);
        return `${key} changes`;
      default: {
        const upTo = rng.pick(PIN_PRIORITIES);
        if (rng.chance(0.2)) return `task ends: ${pins.endTask("t")}`;
        if (rng.chance(0.2)) return `evict ${key}: ${pins.evict(key, "adaptive")}`;
        if (rng.chance(0.2)) return `demote ${key}: ${pins.demote(key)}`;
        if (rng.chance(0.3)) {
          const bytes = (1 + rng.below(6)) * MIB;
          const fits = pins.resize(key, bytes);
          if (fits) target.bytes = bytes;
          return `resize ${key} ${bytes / MIB}: ${fits}`;
        }
        if (rng.chance(0.3)) {
          target.movable = rng.chance(0.5);
          const moving = pins.relocate(key);
          if (moving !== undefined) {
            this.open++;
            void moving.then(() => this.open--);
          }
          return `relocate ${key}: ${moving !== undefined}`;
        }
        return `shed ${pins.shed(rng.below(8) * MIB, upTo, "pressure")}`;
      }
    }
  }

  pin(key: string): string {
    const { rng, host } = this;
    const priority: PinPriority = rng.pick(PIN_PRIORITIES);
    const lifetime = rng.pick(LIFETIMES);
    const ttlMs = rng.pick([800, 5_000, 1e9]);
    this.await(host.pins.pin(key, host.target(key), { priority, lifetime, ttlMs, task: "t" }));
    return `pin ${key} ${priority} ${lifetime}`;
  }

  await(outcome: Promise<PinOutcome> | undefined): boolean {
    if (outcome === undefined) return false;
    this.open++;
    void outcome.then((each) => {
      this.open--;
      this.outcomes.push(each);
    });
    return true;
  }

  /** Plain comparisons: `expect` in the innermost loops takes longer than all the rest. */
  check(): void {
    const { host, targets, limitBytes } = this;
    if (host.faults.length > 0) throw new Error(host.faults.join("; "));
    const used = host.counter.usedBytes;
    // After a lowered limit the use may only fall until it is below again.
    this.ceilingBytes = Math.max(limitBytes, Math.min(this.ceilingBytes, used));
    must(used <= this.ceilingBytes, `${used} used, ${this.ceilingBytes} allowed`);
    const held = sumOf(targets.map((each) => (each.state === "absent" ? 0 : each.bytes)));
    must(held <= used, `${held} in memory, ${used} reserved`);

    const stats = host.pins.stats();
    const list = host.pins.list({ limit: 1_000 });
    must(stats.usedBytes === used, `${stats.usedBytes} by statistics, ${used} reserved`);
    const draining = list.filter(({ state }) => state === "draining");
    must(stats.drainingBytes === sumOf(draining.map(({ bytes }) => bytes)), "bytes that drain");
    must(sumOf(list.map(({ bytes }) => bytes)) === used, "the list adds up to what is reserved");
    for (const priority of PIN_PRIORITIES) {
      const those = list.filter((each) => each.priority === priority && each.state === "resident");
      const { count, bytes } = stats.byPriority[priority];
      must(count === those.length, `${priority}: ${count} counted, ${those.length} listed`);
      must(bytes === sumOf(those.map((each) => each.bytes)), `bytes of ${priority}`);
    }
    for (const { key, state, degraded } of list) {
      const target = host.target(key);
      must(SEEN_AS[state].includes(target.state), `${key}: ${state}, really ${target.state}`);
      must(!host.pins.isPinned(key) || degraded === undefined, `${key}: pinned and degraded`);
      const held = target.state === "resident" || target.state === "dropping" ? 1 : 0;
      must(
        target.loads - target.drops === held,
        `${key}: ${target.loads} loads, ${target.drops} drops`,
      );
    }
  }
}

function must(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(otherwise);
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, each) => sum + each, 0);
}

describe("a pin manager under random use", () => {
  it(`adds up at every step, for ${SEEDS} seeds of ${STEPS} steps`, async () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const run = new Run(seed);
      const trail: string[] = [];
      try {
        for (let i = 0; i < STEPS; i++) {
          trail.push(await run.step());
          if (run.rng.chance(0.6)) await run.host.clock.settle();
          run.check();
        }
        for (const target of run.targets) while (target.references > 0) target.release();
        const stopping = run.host.pins.stop();
        await run.host.clock.advance(2_000);
        await stopping;
        run.check();
        expect(run.open).toBe(0);
        expect(run.host.counter.usedBytes).toBe(0);
        expect(run.targets.filter((each) => each.state !== "absent" || each.locked)).toEqual([]);
        expect(run.targets.map((each) => each.loads - each.drops)).toEqual(KEYS.map(() => 0));
        expect(run.host.clock.pending).toBe(0);
      } catch (e) {
        throw new Error(`seed ${seed}, after:\n${trail.slice(-12).join("\n")}`, { cause: e });
      }
      for (const each of run.outcomes) seen.add(each.kind === "degraded" ? each.reason : each.kind);
    }
    expect([...seen].sort()).toEqual([
      "budget",
      "corruption",
      "draining",
      "evicted",
      "expired",
      "io-error",
      "locked",
      "no-memory",
      "resident",
      "stopped",
      "too-large",
      "unpinned",
    ]);
  });

  it("evicts in the order of class and heat, and never out of a share for the sake of one beyond its own", async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const rng = seededRng(seed);
      const host = new PinHost(40 * MIB);
      for (let i = 0; i < 30; i++) {
        const key = `k-${i}`;
        await host.pins.pin(key, host.target(key, (1 + rng.below(4)) * MIB), {
          priority: rng.pick(PIN_PRIORITIES),
        });
        for (let n = rng.below(5); n > 0; n--) host.pins.renew(rng.pick([...host.targets.keys()]));
        if (rng.chance(0.3)) await host.clock.advance(rng.below(4_000));
      }
      const before = host.pins.list({ limit: 100 }).filter((each) => each.state === "resident");
      const usage = Object.fromEntries(
        PIN_PRIORITIES.map((p) => [p, host.pins.stats().byPriority[p].bytes]),
      );
      const priority = rng.pick(PIN_PRIORITIES);
      const bytes = (1 + rng.below(12)) * MIB;
      const outcome = await host.pins.pin("new", host.target("new", bytes), { priority });
      await host.clock.settle();
      const gone = before.filter((each) => host.target(each.key).state === "absent");
      const context = `seed ${seed}: ${priority} ${bytes / MIB} MiB, ${outcome.kind}`;
      if (outcome.kind === "degraded") expect(gone, context).toEqual([]);
      const within = usage[priority]! + bytes <= shareBytes(priority, 40 * MIB);
      if (within && priority !== "none") expect(outcome.kind, context).toBe("locked");
      for (const victims of PIN_PRIORITIES) {
        const those = before.filter((each) => each.priority === victims);
        const went = those.filter((each) => gone.includes(each));
        if (went.length === 0) continue;
        const stayed = those.filter((each) => !gone.includes(each));
        const hottest = Math.max(...went.map((each) => each.heat));
        for (const each of stayed) expect(each.heat, context).toBeGreaterThanOrEqual(hottest);
        if (!within)
          expect(PIN_PRIORITIES.indexOf(victims), context).toBeGreaterThan(
            PIN_PRIORITIES.indexOf(priority),
          );
        // The last one to go may straddle the share; before it the class was above.
        const others =
          went.reduce((sum, each) => sum + each.bytes, 0) -
          Math.max(...went.map((each) => each.bytes));
        expect(usage[victims]! - others, context).toBeGreaterThan(shareBytes(victims, 40 * MIB));
      }
    }
  });
});
