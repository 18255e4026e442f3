import { describe, expect, it } from "vitest";
import { fill, LOCKED, MIB, PinHost } from "./residency.test.fixture.ts";

const TAIL = { priority: "tail-latency-critical" } as const;
const QUERY = { priority: "query-critical" } as const;
const BACKGROUND = { priority: "background" } as const;
const NONE = { priority: "none" } as const;

describe("a pin manager", () => {
  it("unpin while loading ends the load and gives the room back", async () => {
    const host = new PinHost(4 * MIB);
    const target = host.target("a");
    target.loadMs = undefined;
    const pinned = host.pins.pin("a", target, TAIL);
    await host.clock.settle();
    expect(target.state).toBe("loading");
    host.pins.unpin("a");
    expect(await pinned).toMatchObject({ kind: "degraded", reason: "unpinned" });
    expect(host.counter.usedBytes).toBe(0);
    expect(host.pins.list()).toEqual([]);
  });

  it("a pin after an unpin while loading loads again", async () => {
    const host = new PinHost(4 * MIB);
    const target = host.target("a");
    target.loadMs = 100;
    const first = host.pins.pin("a", target, TAIL);
    await host.clock.settle();
    host.pins.unpin("a");
    const second = host.pins.pin("a", target, TAIL);
    await host.clock.advance(200);
    expect(await first).toEqual(LOCKED);
    expect(await second).toEqual(LOCKED);
    expect(target.requests).toHaveLength(2);
    expect(host.faults).toEqual([]);
  });

  it("a pin while draining waits for the drop and loads again, also another object of the same name", async () => {
    const host = new PinHost(4 * MIB);
    const target = host.target("a");
    await host.pins.pin("a", target, TAIL);
    target.acquire();
    host.pins.unpin("a");
    host.targets.delete("a");
    const next = host.target("a");
    const again = host.pins.pin("a", next, TAIL);
    await host.clock.settle();
    expect(next.state).toBe("absent");
    target.release();
    expect(await again).toEqual(LOCKED);
    expect(next).toMatchObject({ state: "resident", loads: 1 });
    expect(target).toMatchObject({ state: "absent", drops: 1, faults: [] });
  });

  it("a pin while draining gives up when the turns do not end", async () => {
    const host = new PinHost(4 * MIB, { drainWaitMs: 100 });
    await host.pins.pin("a", host.target("a"), TAIL);
    host.target("a").acquire();
    host.pins.unpin("a");
    const again = host.pins.pin("a", host.target("a"), TAIL);
    await host.clock.advance(100);
    expect(await again).toMatchObject({ kind: "degraded", reason: "draining" });
    host.target("a").release();
    await host.clock.settle();
    expect(host.counter.usedBytes).toBe(0);
    expect(await host.pins.pin("a", host.target("a"), TAIL)).toEqual(LOCKED);
  });

  it("promote while loading counts at once, and two pins of one key have the higher priority of both", async () => {
    const host = new PinHost(4 * MIB);
    const target = host.target("a");
    target.loadMs = undefined;
    const first = host.pins.pin("a", target, BACKGROUND);
    const second = host.pins.pin("a", target, QUERY);
    await host.clock.settle();
    expect(host.pins.list()[0]).toMatchObject({ state: "loading", priority: "query-critical" });
    expect(host.pins.promote("a", "tail-latency-critical")).toBe(true);
    target.finishLoad();
    expect(await Promise.all([first, second])).toEqual([LOCKED, LOCKED]);
    expect(target.loads).toBe(1);
    expect(host.pins.stats().byPriority["tail-latency-critical"]).toMatchObject({
      count: 1,
      bytes: MIB,
    });
    await host.pins.pin("a", target, BACKGROUND);
    expect(host.pins.priorityOf("a")).toBe("tail-latency-critical");
  });

  it("a pin whose time ends during its load is not brought in", async () => {
    const host = new PinHost(4 * MIB);
    host.pins.start();
    const target = host.target("a");
    target.loadMs = 5_000;
    const pinned = host.pins.pin("a", target, { ...TAIL, lifetime: "session", ttlMs: 2_000 });
    await host.clock.advance(2_000);
    expect(await pinned).toMatchObject({ kind: "degraded", reason: "expired" });
    expect(target).toMatchObject({ state: "absent", loads: 0 });
    await host.pins.stop();
  });

  it("a lowered limit makes pins go, lowest class first, and only so many", async () => {
    const host = new PinHost(10 * MIB);
    await fill(host, "background", 2, "b");
    await fill(host, "query-critical", 3, "q");
    await fill(host, "tail-latency-critical", 5, "t");
    host.target("b-1").acquire();
    host.counter.setLimit(7 * MIB);
    host.pins.enforceLimit();
    host.pins.enforceLimit();
    await host.clock.settle();
    const counts = () => {
      const { byPriority } = host.pins.stats();
      return [
        byPriority.background,
        byPriority["query-critical"],
        byPriority["tail-latency-critical"],
      ].map(({ count }) => count);
    };
    expect(counts()).toEqual([0, 2, 5]);
    expect(host.counter.usedBytes).toBe(8 * MIB);
    expect(await host.pins.pin("x", host.target("x"), NONE)).toMatchObject({ reason: "budget" });
    host.target("b-1").release();
    await host.clock.settle();
    expect(host.counter.usedBytes).toBe(7 * MIB);
    expect(host.pins.stats().evictions.pressure).toBe(3);
    expect(host.pins.renew("b-0")).toBe(false);
    expect(host.pins.stats().degraded).toEqual({ evicted: 3, budget: 1 });
  });

  it("a load that cannot be stopped is kept if it is wanted again, and dropped if not", async () => {
    const host = new PinHost(4 * MIB);
    const start = async (key: string) => {
      const target = host.target(key);
      target.ignoresAbort = true;
      target.loadMs = undefined;
      const outcome = host.pins.pin(key, target, TAIL);
      await host.clock.settle();
      host.pins.unpin(key);
      return { target, outcome };
    };
    const again = await start("a");
    const second = host.pins.pin("a", again.target, TAIL);
    again.target.finishLoad();
    expect(await Promise.all([again.outcome, second])).toEqual([LOCKED, LOCKED]);
    expect(again.target).toMatchObject({ loads: 1, drops: 0 });

    const alone = await start("b");
    alone.target.finishLoad();
    expect(await alone.outcome).toMatchObject({ reason: "unpinned" });
    await host.clock.settle();
    expect(alone.target).toMatchObject({ loads: 1, drops: 1, state: "absent" });

    const replaced = await start("c");
    host.targets.delete("c");
    const other = host.pins.pin("c", host.target("c"), TAIL);
    replaced.target.finishLoad();
    expect(await other).toEqual(LOCKED);
    expect(replaced.target).toMatchObject({ loads: 1, drops: 1, state: "absent", faults: [] });
    expect(host.target("c").state).toBe("resident");
    expect(host.counter.usedBytes).toBe(2 * MIB);
  });

  it("an extent that has to go while it is being locked goes once that is done", async () => {
    const host = new PinHost(4 * MIB);
    const target = host.target("a");
    target.lockMs = 100;
    const pinned = host.pins.pin("a", target, TAIL);
    await host.clock.settle();
    expect(host.pins.evict("a", "pressure")).toBe(true);
    const again = host.pins.pin("a", target, TAIL);
    await host.clock.advance(100);
    expect(await pinned).toMatchObject({ kind: "degraded", reason: "evicted" });
    await host.clock.advance(100);
    expect(await again).toEqual(LOCKED);
    expect(target).toMatchObject({ loads: 2, drops: 1, faults: [] });
  });

  it("an extent grows into free room only, and what it no longer needs goes to who waits", async () => {
    const host = new PinHost(6 * MIB);
    await fill(host, "background", 3, "b");
    expect(host.pins.resize("b-0", 5 * MIB)).toBe(false);
    expect(host.counter.usedBytes).toBe(3 * MIB);
    expect(host.pins.resize("b-0", 4 * MIB)).toBe(true);
    expect(host.counter.usedBytes).toBe(6 * MIB);
    expect(host.pins.stats().byPriority.background.bytes).toBe(6 * MIB);
    for (const key of ["b-0", "b-1", "b-2"]) host.target(key).acquire();
    const waiting = host.pins.pin("t", host.target("t"), TAIL);
    await host.clock.settle();
    expect(host.pins.resize("b-1", 0)).toBe(true);
    expect(await waiting).toEqual(LOCKED);
    expect(host.pins.resize("absent", MIB)).toBe(false);
    expect(host.counter.usedBytes).toBe(6 * MIB);
  });

  it("unpin while waiting for room gives back what was reserved at once", async () => {
    const host = new PinHost(4 * MIB);
    await fill(host, "background", 3, "b");
    for (const key of ["b-0", "b-1", "b-2"]) host.target(key).acquire();
    const waiting = host.pins.pin("t", host.target("t", 2 * MIB), TAIL);
    await host.clock.settle();
    expect(host.counter.usedBytes).toBe(4 * MIB);
    host.pins.unpin("t");
    expect(await waiting).toMatchObject({ kind: "degraded", reason: "unpinned" });
    expect(host.counter.usedBytes).toBe(3 * MIB);
    expect(host.clock.pending).toBe(0);
  });

  it("gives what becomes free to the most important who waits", async () => {
    const host = new PinHost(4 * MIB);
    await fill(host, "background", 4, "b");
    for (let i = 0; i < 4; i++) host.target(`b-${i}`).acquire();
    const query = host.pins.pin("q", host.target("q"), QUERY);
    const tail = host.pins.pin("t", host.target("t"), TAIL);
    await host.clock.settle();
    host.target("b-0").release();
    expect(await tail).toEqual(LOCKED);
    expect(host.pins.isPinned("q")).toBe(false);
    host.target("b-1").release();
    expect(await query).toEqual(LOCKED);
  });

  it("a limit that is lowered while a pin waits comes first", async () => {
    const host = new PinHost(4 * MIB, { drainWaitMs: 300 });
    await fill(host, "background", 4, "b");
    for (let i = 0; i < 4; i++) host.target(`b-${i}`).acquire();
    const waiting = host.pins.pin("t", host.target("t"), TAIL);
    await host.clock.settle();
    host.counter.setLimit(3 * MIB);
    host.target("b-0").release();
    await host.clock.advance(300);
    expect(await waiting).toMatchObject({ kind: "degraded", reason: "draining" });
    expect(host.counter.usedBytes).toBe(3 * MIB);
  });

  it("lets nothing in while memory is short", async () => {
    const host = new PinHost(4 * MIB);
    await host.pins.pin("b", host.target("b"), TAIL);
    host.pins.holdAdmission(true);
    // It might not get back in.
    expect(host.pins.relocate("b")).toBeUndefined();
    expect(await host.pins.pin("a", host.target("a"), TAIL)).toMatchObject({ reason: "pressure" });
    host.pins.holdAdmission(false);
    expect(await host.pins.pin("a", host.target("a"), TAIL)).toEqual(LOCKED);
  });

  it("stop releases what is resident, ends what loads or waits, and takes no more", async () => {
    const host = new PinHost(4 * MIB, { drainWaitMs: 60_000 });
    host.pins.start();
    await fill(host, "background", 3, "b");
    host.target("b-0").acquire();
    host.target("l").loadMs = undefined;
    const loading = host.pins.pin("l", host.target("l"), TAIL);
    await host.clock.settle();
    const waiting = host.pins.pin("w", host.target("w", 3 * MIB), TAIL);
    await host.clock.settle();
    let stopped = false;
    const stopping = host.pins.stop().then(() => (stopped = true));
    await host.clock.settle();
    expect(stopped).toBe(false);
    host.target("b-0").release();
    await stopping;
    expect(await loading).toMatchObject({ kind: "degraded", reason: "stopped" });
    expect(await waiting).toMatchObject({ kind: "degraded" });
    expect(await host.pins.pin("x", host.target("x"), TAIL)).toMatchObject({ reason: "stopped" });
    expect(host.counter.usedBytes).toBe(0);
    expect(host.clock.pending).toBe(0);
    expect(host.faults).toEqual([]);
  });
});
