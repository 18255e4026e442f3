import { describe, expect, it } from "vitest";
import { Placer } from "./placer.ts";
import { fill, LOCKED, MIB, PinHost, twoNodes } from "./residency.test.fixture.ts";

const TAIL = { priority: "tail-latency-critical" } as const;
const QUERY = { priority: "query-critical" } as const;
const BACKGROUND = { priority: "background" } as const;
const NONE = { priority: "none" } as const;

describe("pin", () => {
  it("brings an extent in, locked, and gives it back on unpin", async () => {
    const host = new PinHost(10 * MIB);
    const target = host.target("a/1#x");
    expect(await host.pins.pin("a/1#x", target, TAIL)).toEqual(LOCKED);
    expect(host.pins.isPinned("a/1#x")).toBe(true);
    expect(target).toMatchObject({ state: "resident", locked: true });
    expect(host.counter.usedBytes).toBe(MIB);
    host.pins.unpin("a/1#x");
    expect(host.pins.isPinned("a/1#x")).toBe(false);
    await host.clock.settle();
    expect(target).toMatchObject({ state: "absent", locked: false, loads: 1, drops: 1 });
    expect(host.counter.usedBytes).toBe(0);
    expect(host.pins.list()).toEqual([]);
    expect(host.faults).toEqual([]);
  });

  it("says that memory is resident and why it is not locked", async () => {
    const host = new PinHost(10 * MIB);
    const target = host.target("a");
    target.denial = "limit";
    expect(await host.pins.pin("a", target, TAIL)).toEqual({
      kind: "resident",
      notLocked: "limit",
    });
    expect(host.pins.isPinned("a")).toBe(true);
    expect(host.pins.stats().notLockedBytes).toEqual({ limit: MIB });
    target.denial = undefined;
    expect(await host.pins.pin("a", target, TAIL)).toEqual(LOCKED);
  });

  it("asks for a lock again when it rises from no class", async () => {
    const host = new PinHost(10 * MIB);
    const target = host.target("a");
    target.denial = "limit";
    await host.pins.pin("a", target, TAIL);
    host.pins.promote("a", "query-critical");
    host.pins.promote("a", "none");
    target.denial = undefined;
    await host.clock.settle();
    expect(target.locked).toBe(false);
    host.pins.promote("a", "background");
    await host.clock.settle();
    expect(target.locked).toBe(true);
  });

  it("brings an extent of no priority in without a lock, and never at the cost of another", async () => {
    const host = new PinHost(2 * MIB);
    expect(await host.pins.pin("a", host.target("a"), NONE)).toEqual({
      kind: "resident",
      notLocked: "not-asked",
    });
    expect(host.pins.isPinned("a")).toBe(false);
    await fill(host, "background", 1, "b");
    expect(await host.pins.pin("c", host.target("c"), NONE)).toMatchObject({
      kind: "degraded",
      reason: "budget",
    });
  });

  it("asks for huge pages from 2 MiB on, and for the worker's node, unless told otherwise", async () => {
    const host = new PinHost(20 * MIB, { placer: new Placer({ files: twoNodes(), home: 1 }) });
    await host.pins.pin("small", host.target("small"), TAIL);
    await host.pins.pin("big", host.target("big", 2 * MIB), TAIL);
    await host.pins.pin("far", host.target("far", 4 * MIB), {
      ...TAIL,
      numaPrefer: 0,
      hugePages: false,
      onFault: true,
    });
    const requestOf = (key: string) => host.target(key).requests[0];
    expect(requestOf("small")).toMatchObject({
      placing: { hugePages: false, numa: { kind: "bind", nodes: [1] } },
      onFault: false,
    });
    expect(requestOf("big")).toMatchObject({ placing: { hugePages: true, wantedNode: 1 } });
    expect(requestOf("far")).toMatchObject({
      placing: { hugePages: false, wantedNode: 0 },
      onFault: true,
    });
  });

  it("brings neighbours back that somebody wants and that had to go, but makes nobody go for them", async () => {
    const host = new PinHost(2 * MIB);
    const [target, neighbour, other] = [host.target("a"), host.target("n"), host.target("x")];
    target.neighbours = [neighbour];
    const ask = { priority: "query-critical", prefetchAdjacent: 8 } as const;
    const bring = async (): Promise<void> => {
      host.pins.evict("a", "pressure");
      await host.clock.advance(0);
      // Somebody who wants no neighbours does not take them from who does.
      expect(await host.pins.pin("a", target, { priority: "query-critical" })).toEqual(LOCKED);
      await host.clock.advance(0);
    };
    expect(await host.pins.pin("n", neighbour, { priority: "query-critical" })).toEqual(LOCKED);
    expect(await host.pins.pin("a", target, ask)).toEqual(LOCKED);
    host.pins.evict("n", "pressure");
    await host.clock.advance(0);
    await bring();
    expect(neighbour.state).toBe("resident");
    host.pins.evict("n", "pressure");
    await host.clock.advance(0);
    expect(await host.pins.pin("x", other, { priority: "background" })).toEqual(LOCKED);
    await bring();
    expect(neighbour.state).toBe("absent");
    expect(other.drops).toBe(0);
    expect(host.faults).toEqual([]);
  });

  it("brings neighbours in while there is room, and lets them go after a while", async () => {
    const host = new PinHost(3 * MIB);
    host.pins.start();
    const target = host.target("a");
    target.neighbours = ["n1", "n2", "n3"].map((key) => host.target(key));
    await host.pins.pin("a", target, { ...TAIL, prefetchAdjacent: 3 });
    await host.clock.settle();
    const states = () => ["n1", "n2", "n3"].map((key) => host.target(key).state);
    expect(states()).toEqual(["resident", "resident", "absent"]);
    await host.clock.advance(31_000);
    expect(states()).toEqual(["absent", "absent", "absent"]);
    await host.pins.stop();
  });

  it.each([
    ["io-error", "io-error"],
    ["corruption", "corruption"],
    ["overloaded", "no-memory"],
  ] as const)(
    "degrades when the load fails with %s, and gives the room back",
    async (fault, reason) => {
      const host = new PinHost(4 * MIB);
      const target = host.target("a");
      target.fault = fault;
      const outcome = await host.pins.pin("a", target, TAIL);
      expect(outcome).toMatchObject({ kind: "degraded", reason, error: { code: fault } });
      expect(host.counter.usedBytes).toBe(0);
      expect(host.pins.stats().degraded).toEqual({ [reason]: 1 });
      expect(host.pins.list({ degraded: true })).toMatchObject([{ key: "a", degraded: reason }]);
      target.fault = undefined;
      expect(await host.pins.pin("a", target, TAIL)).toEqual(LOCKED);
      expect(host.pins.stats()).toMatchObject({ degraded: {}, degradedTotal: { [reason]: 1 } });
    },
  );
});

describe("over budget", () => {
  it("lets a class borrow all that is free, and takes it back for a class within its share", async () => {
    const host = new PinHost(10 * MIB);
    await fill(host, "tail-latency-critical", 10, "t");
    await fill(host, "background", 2, "b");
    expect(host.pins.stats().byPriority["tail-latency-critical"].count).toBe(8);
    expect(await host.pins.pin("b-3", host.target("b-3"), BACKGROUND)).toMatchObject({
      kind: "degraded",
      reason: "budget",
    });
    await fill(host, "query-critical", 3, "q");
    const { byPriority, evictions } = host.pins.stats();
    expect(byPriority["tail-latency-critical"]).toMatchObject({ count: 5, borrowedBytes: 0 });
    expect(evictions.budget).toBe(5);
  });

  it("makes lower classes go first, and what was used longest ago first within a class", async () => {
    const host = new PinHost(10 * MIB);
    await fill(host, "background", 6, "b");
    await fill(host, "query-critical", 4, "q");
    host.pins.renew("b-0");
    host.pins.renew("b-1");
    await fill(host, "tail-latency-critical", 4, "t");
    const left = (prefix: string) =>
      [...host.targets.keys()].filter((key) => key.startsWith(prefix) && host.pins.isPinned(key));
    expect(left("b")).toEqual(["b-0", "b-1"]);
    expect(left("q")).toEqual(["q-0", "q-1", "q-2", "q-3"]);
    await fill(host, "tail-latency-critical", 5, "t");
    expect(left("q")).toEqual(["q-1", "q-2", "q-3"]);
  });

  it("makes extents of no class go before any pin", async () => {
    const host = new PinHost(4 * MIB);
    await fill(host, "none", 2, "n");
    await fill(host, "background", 4, "b");
    expect(host.pins.stats().byPriority).toMatchObject({
      none: { count: 0 },
      background: { count: 4 },
    });
  });

  it("evicts nobody for a pin that could not be satisfied anyway", async () => {
    const host = new PinHost(10 * MIB);
    await fill(host, "background", 4, "b");
    await fill(host, "tail-latency-critical", 6, "t");
    const outcome = await host.pins.pin("big", host.target("big", 4 * MIB), TAIL);
    expect(outcome).toMatchObject({ kind: "degraded", reason: "budget" });
    expect(host.pins.stats().evictions.budget).toBe(0);
    expect(await host.pins.pin("huge", host.target("huge", 11 * MIB), TAIL)).toMatchObject({
      reason: "too-large",
    });
  });

  it("waits for the turns that use what has to go, and prefers what nothing uses", async () => {
    const host = new PinHost(4 * MIB);
    await fill(host, "background", 4, "b");
    for (const key of ["b-0", "b-1", "b-3"]) expect(host.target(key).acquire()).toBe(true);
    await fill(host, "tail-latency-critical", 1, "t");
    expect(host.pins.isPinned("b-2")).toBe(false);
    expect(host.pins.isPinned("b-0")).toBe(true);

    const waiting = host.pins.pin("t-2", host.target("t-2"), TAIL);
    await host.clock.settle();
    expect(host.target("b-0").state).toBe("dropping");
    expect(host.target("t-2").state).toBe("absent");
    expect(host.counter.usedBytes).toBe(4 * MIB);
    host.target("b-0").release();
    expect(await waiting).toEqual(LOCKED);
    expect(host.faults).toEqual([]);
  });

  it("degrades when turns do not let go in time, and keeps nothing reserved", async () => {
    const host = new PinHost(2 * MIB, { drainWaitMs: 200 });
    await fill(host, "background", 2, "b");
    host.target("b-0").acquire();
    host.target("b-1").acquire();
    const waiting = host.pins.pin("t", host.target("t"), TAIL);
    await host.clock.advance(200);
    expect(await waiting).toMatchObject({ kind: "degraded", reason: "draining" });
    host.target("b-0").release();
    await host.clock.settle();
    expect(host.counter.usedBytes).toBe(MIB);
  });

  it("gives what somebody had to go for to who made them go, not to who came in between", async () => {
    const host = new PinHost(2 * MIB);
    await fill(host, "background", 2, "b");
    host.target("b-0").acquire();
    host.target("b-1").acquire();
    const first = host.pins.pin("t", host.target("t"), TAIL);
    await host.clock.settle();
    const between = host.pins.pin("u", host.target("u"), NONE);
    host.target("b-0").release();
    expect(await first).toEqual(LOCKED);
    expect(await between).toMatchObject({ kind: "degraded", reason: "budget" });
  });
});

describe("time", () => {
  it("sinks an idle pin class by class at its longest pin time, and unlocks it at the end", async () => {
    const host = new PinHost(4 * MIB);
    host.pins.start();
    await host.pins.pin("a", host.target("a"), TAIL);
    const at = async (advanceMs: number) => {
      await host.clock.advance(advanceMs);
      return host.pins.priorityOf("a");
    };
    expect(await at(4_000)).toBe("tail-latency-critical");
    expect(await at(1_000)).toBe("query-critical");
    expect(await at(29_000)).toBe("query-critical");
    expect(await at(1_000)).toBe("background");
    expect(await at(299_000)).toBe("background");
    expect(host.target("a").locked).toBe(true);
    expect(await at(1_000)).toBe("none");
    expect(host.target("a")).toMatchObject({ locked: false, state: "resident" });
    expect(host.pins.isPinned("a")).toBe(false);
    expect(host.pins.renew("a")).toBe(true);
    await host.clock.settle();
    expect(host.target("a").locked).toBe(true);
    expect(await at(5_000)).toBe("query-critical");
    await host.pins.stop();
  });

  it("keeps a pin that is renewed in its class", async () => {
    const host = new PinHost(4 * MIB);
    host.pins.start();
    await host.pins.pin("a", host.target("a"), TAIL);
    for (let i = 0; i < 20; i++) {
      await host.clock.advance(4_000);
      expect(host.pins.renew("a")).toBe(true);
      expect(host.pins.priorityOf("a")).toBe("tail-latency-critical");
    }
    await host.pins.stop();
  });

  it("counts the time to live from the last use, also when the pin sinks meanwhile", async () => {
    const host = new PinHost(4 * MIB);
    host.pins.start();
    await host.pins.pin("a", host.target("a"), { ...QUERY, ttlMs: 40_000 });
    await host.clock.advance(39_000);
    expect(host.pins.priorityOf("a")).toBe("background");
    await host.clock.advance(1_000);
    expect(host.pins.priorityOf("a")).toBeUndefined();
    await host.pins.stop();
  });

  it("ends pins by their lifetime", async () => {
    const host = new PinHost(10 * MIB);
    host.pins.start();
    const pin = (key: string, options: object) =>
      host.pins.pin(key, host.target(key), { ...QUERY, ...options });
    await pin("ephemeral", { lifetime: "ephemeral" });
    await pin("session", { lifetime: "session", ttlMs: 10_000 });
    await pin("task", { lifetime: "task", task: "scan-1" });
    await pin("other-task", { lifetime: "task", task: "scan-2" });
    await pin("long", {});
    host.target("ephemeral").acquire();
    const known = () =>
      host.pins
        .list()
        .map((each) => each.key)
        .sort();
    await host.clock.advance(5_000);
    expect(host.pins.isPinned("ephemeral")).toBe(true);
    host.target("ephemeral").release();
    expect(known()).toEqual(["ephemeral", "long", "other-task", "session", "task"]);
    await host.clock.advance(1_000);
    expect(known()).toEqual(["long", "other-task", "session", "task"]);
    host.pins.renew("session");
    await host.clock.advance(9_000);
    expect(known()).toContain("session");
    await host.clock.advance(1_000);
    expect(known()).toEqual(["long", "other-task", "task"]);
    expect(host.pins.endTask("scan-1")).toBe(1);
    await host.clock.advance(400_000);
    expect(known()).toEqual(["long", "other-task"]);
    expect(host.pins.stats().evictions.expired).toBe(3);
    await host.pins.stop();
  });
});

describe("several workers", () => {
  it("gives back what another worker lacks within its fair part", async () => {
    const host = new PinHost(8 * MIB);
    host.pins.start();
    const other = new PinHost(0, { budget: host.counter.open(1), clock: host.clock });
    other.pins.start();
    await fill(host, "background", 8, "b");
    const pin = () => other.pins.pin("x", other.target("x"), TAIL);
    expect(await pin()).toMatchObject({ reason: "budget" });
    await host.clock.advance(1_000);
    expect(await pin()).toEqual(LOCKED);
    expect(host.pins.stats().byPriority.background.count).toBe(7);
    await host.clock.advance(5_000);
    expect(host.pins.stats().byPriority.background.count).toBe(7);
    await host.pins.stop();
    await other.pins.stop();
  });
});
