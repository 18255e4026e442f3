import { describe, expect, it } from "vitest";
import { column } from "../structures/column.ts";
import { map } from "../structures/map.ts";
import { codeOf, StoreMachine } from "./store.test.fixture.ts";
import type { Store } from "./store.ts";

const COUNTER = { values: column("f64") };

async function add(store: Store, name: string, value: number): Promise<number> {
  const volume = await store.open(name, COUNTER);
  await volume.update(({ values }) => values.append(value));
  const sum = await volume.read(({ values }) => values.sum());
  await volume.close();
  return sum;
}

describe("volumes of a store", () => {
  it("are listed in the order of their names, whether a checkpoint has them or not", async () => {
    const machine = new StoreMachine();
    let store = await machine.open();
    for (const name of ["b/2", "a", "b/1"]) await add(store, name, 1);
    await store.checkpoint();
    await store.open("never changed", COUNTER);
    const open = await store.open("b/0", COUNTER);
    await open.update(({ values }) => values.append(1));
    expect(await store.volumes()).toEqual(["a", "b/0", "b/1", "b/2"]);
    machine.crash();
    store = await machine.open();
    expect(await store.volumes()).toEqual(["a", "b/0", "b/1", "b/2"]);
    expect(await store.volumes({ prefix: "b/" })).toEqual(["b/0", "b/1", "b/2"]);
    expect(await store.volumes({ prefix: "b/", after: "b/0", limit: 1 })).toEqual(["b/1"]);
    expect(await store.volumes({ after: "b/1" })).toEqual(["b/2"]);
    expect(await store.volumes({ limit: 0 })).toEqual([]);
    await store.delete("b/1");
    expect(await store.volumes({ limit: 3 })).toEqual(["a", "b/0", "b/2"]);
    await store.close();
  });

  it("are deleted durably, and begin empty when they come back", async () => {
    const machine = new StoreMachine();
    let store = await machine.open();
    expect(await add(store, "a", 1)).toBe(1);
    expect([await store.delete("a"), await store.delete("a"), await store.delete("b")]).toEqual([
      true,
      false,
      false,
    ]);
    machine.crash();
    store = await machine.open();
    expect(await store.volumes()).toEqual([]);
    expect(await store.delete("a")).toBe(false);
    expect(await add(store, "a", 2)).toBe(2);
    await store.checkpoint();
    expect(await store.delete("a")).toBe(true);
    await store.checkpoint();
    const { livePages = 0 } = (await store.stats()).state ?? {};
    expect(await add(store, "a", 4)).toBe(4);
    await store.checkpoint();
    expect((await store.stats()).state?.livePages).toBeGreaterThan(livePages);
    machine.crash();
    store = await machine.open();
    expect(await add(store, "a", 8)).toBe(12);
    await store.close();
  });

  it("come back from a log that deletes and makes them again, without the checkpoint in between", async () => {
    const machine = new StoreMachine();
    let store = await machine.open();
    await add(store, "a", 1);
    // As if the checkpoints from here on were lost.
    const before = machine.disk.crashImage({ survivalRate: 1 });
    expect(await store.delete("a")).toBe(true);
    expect(await add(store, "a", 2)).toBe(2);
    await machine.replace(before, machine.disk.crashImage({ survivalRate: 1 }));
    store = await machine.open();
    expect(await add(store, "a", 4)).toBe(6);
    await store.close();
  });

  it("are open once at a time; whoever comes while one leaves waits for it", async () => {
    await using store = await new StoreMachine().open();
    const first = await store.open("a", COUNTER);
    expect(await codeOf(store.open("a", COUNTER))).toBe("invalid-argument");
    expect(await codeOf(store.delete("a"))).toBe("invalid-argument");
    await first.update(({ values }) => values.append(1));
    const closing = first.close();
    const again = await store.open("a", COUNTER);
    expect(await again.read(({ values }) => values.sum())).toBe(1);
    await closing;
    void again.close();
    expect(await store.delete("a")).toBe(true);
    expect(await codeOf(first.read(() => 0))).toBe("invalid-argument");
  });

  it("give up their opening by a signal", async () => {
    await using store = await new StoreMachine().open();
    const signal = AbortSignal.abort(new RangeError("no"));
    await expect(store.open("a", COUNTER, { signal })).rejects.toThrow("no");
    const late = new AbortController();
    const opening = store.open("a", COUNTER, { signal: late.signal });
    late.abort(new RangeError("enough"));
    await expect(opening).rejects.toThrow("enough");
    const volume = await store.open("b", COUNTER);
    await volume.close();
    expect(await add(store, "a", 1)).toBe(1);
  });
});

describe("bad input", () => {
  it.each(["", "a\0b", "\ud800", "x".repeat(1_025), 7 as unknown as string])(
    "the name %j is refused",
    async (name) => {
      await using store = await new StoreMachine().open();
      expect(await codeOf(store.open(name, COUNTER))).toBe("invalid-argument");
      expect(await codeOf(store.delete(name))).toBe("invalid-argument");
    },
  );

  it("declarations that are none, or say something else than what is stored, are refused", async () => {
    const machine = new StoreMachine();
    let store = await machine.open();
    expect(await codeOf(store.open("a", {}))).toBe("invalid-argument");
    expect(await codeOf(store.open("a", { "1st": column("f64") }))).toBe("invalid-argument");
    expect(await codeOf(store.open("a", { x: 1 as never }))).toBe("invalid-argument");
    expect(await codeOf(store.open("a", COUNTER, { profile: "fast" as never }))).toBe(
      "invalid-argument",
    );
    await add(store, "a", 1);
    for (let life = 0; life < 2; life++) {
      expect(await codeOf(store.open("a", { values: map({ key: "string" }) }))).toBe(
        "invalid-argument",
      );
      const other = await store.open("a", { values: column("i32") });
      expect(await codeOf(other.read(({ values }) => values.sum()))).toBe("invalid-argument");
      await other.close();
      await store.close();
      store = await machine.open();
    }
    // Another structure beside it is welcome, and what is not declared stays.
    const more = await store.open("a", { names: map<number>({ key: "string" }) });
    await more.update(({ names }) => names.set("one", 1));
    await more.close();
    expect(await add(store, "a", 2)).toBe(3);
    await store.close();
  });

  it.each([
    { waitingMax: 0 },
    { checkpointMs: 1 },
    { checkpointLogBytes: Number.NaN },
    { logSegmentBytes: 1 },
    { flush: "sometimes" },
  ])("the options %j are refused", async (options) => {
    expect(await codeOf(new StoreMachine().open(options))).toBe("config-invalid");
  });
});

describe("a store whose parts do not fit together", () => {
  it("does not open when the log is older than the checkpoint", async () => {
    const machine = new StoreMachine();
    const store = await machine.open();
    await add(store, "a", 1);
    const old = machine.disk.crashImage({ survivalRate: 1 });
    await add(store, "a", 1);
    await machine.replace(machine.disk.crashImage({ survivalRate: 1 }), old);
    expect(await codeOf(machine.open())).toBe("corruption");
  });

  it("does not open when the log was cut for a newer checkpoint", async () => {
    const machine = new StoreMachine();
    let store = await machine.open();
    await add(store, "a", 1);
    await store.close();
    const old = machine.disk.crashImage({ survivalRate: 1 });
    store = await machine.open();
    const volume = await store.open("b", COUNTER);
    for (let i = 0; i < 12; i++)
      await volume.update(({ values }) => values.appendMany(new Float64Array(4_096).fill(i)));
    await store.close();
    store = await machine.open();
    await add(store, "a", 1);
    await store.checkpoint();
    await store.close();
    await machine.replace(old, machine.disk);
    expect(await codeOf(machine.open())).toBe("corruption");
  });
});
