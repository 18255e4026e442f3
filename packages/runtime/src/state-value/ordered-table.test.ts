import { seededRng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { OrderedTable, overlayMax, type TableKey } from "./ordered-table.ts";

function entriesOf(table: {
  keys(): Iterable<TableKey>;
  get(key: TableKey): unknown;
}): [TableKey, unknown][] {
  return [...table.keys()].map((key) => [key, table.get(key)]);
}

const keep = (value: unknown): unknown => value;

describe("versions of a table", () => {
  test("equal a Map that had the same history, and earlier ones stay as they were", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const rng = seededRng(seed);
      const map = new Map<TableKey, unknown>(
        Array.from({ length: rng.below(200) }, (_, i) => [i, i]),
      );
      let version = OrderedTable.of("map", new Map(map));
      const history: [OrderedTable, [TableKey, unknown][]][] = [];
      for (let n = 0; n < 40; n++) {
        history.push([version, [...map]]);
        const edit = version.edit();
        for (let k = rng.below(6); k > 0; k--) {
          const key = rng.below(220);
          if (rng.chance(0.4)) expect(edit.delete(key)).toBe(map.delete(key));
          else {
            const value = rng.pick([undefined, n, "v"]);
            edit.set(key, value);
            map.set(key, value);
          }
          expect([edit.size, edit.has(key), edit.get(key)]).toEqual([
            map.size,
            map.has(key),
            map.get(key),
          ]);
        }
        if (rng.chance(0.02)) {
          edit.clear();
          map.clear();
        }
        expect(entriesOf(edit)).toEqual([...map]);
        version = edit.commit([], keep);
        expect(entriesOf(version), `seed ${seed}`).toEqual([...map]);
      }
      for (const [old, entries] of history) expect(entriesOf(old), `seed ${seed}`).toEqual(entries);
    }
  });

  test("share the entries below until the overlay has outgrown them", () => {
    const entries = new Map<TableKey, unknown>(Array.from({ length: 10_000 }, (_, i) => [i, i]));
    let version = OrderedTable.of("map", entries);
    let copies = 0;
    for (let i = 0; i < 1_000; i++) {
      const edit = version.edit();
      edit.set(`new ${i}`, i);
      const next = edit.commit([], keep);
      if (next.keys()[Symbol.toStringTag] === "Map Iterator") copies++; // nothing over the native entries
      version = next;
    }
    expect(version.size).toBe(11_000);
    expect(copies).toBeGreaterThan(0);
    expect(copies).toBeLessThanOrEqual(1_000 / overlayMax(10_000) + 1);
  });

  test("stay as they are when the edit they came from goes on", () => {
    const table = OrderedTable.of("map", new Map(Array.from({ length: 500 }, (_, i) => [i, i])));
    const edit = table.edit();
    edit.set(7, "first");
    const version = edit.commit([], keep);
    edit.set(7, "second");
    edit.set("new", 1);
    edit.delete(8);
    expect([version.get(7), version.has("new"), version.has(8), version.size]).toEqual([
      "first",
      false,
      true,
      500,
    ]);
    expect(edit.commit([], keep).get(7)).toBe("second");
  });

  test("hold what is settled in place of what was pending", () => {
    const table = OrderedTable.of("map", new Map(Array.from({ length: 500 }, (_, i) => [i, i])));
    const edit = table.edit();
    edit.place(7, "pending");
    edit.set("x", "pending");
    const version = edit.commit(
      [7, "x", "gone"],
      (value, key) => `${String(value)} ${String(key)} settled`,
    );
    expect([version.get(7), version.get("x")]).toEqual(["pending 7 settled", "pending x settled"]);
    expect(edit.get(7)).toBe("pending");
    expect([...edit.changedKeys()]).toEqual(["x"]);
  });
});

describe("an edit that is iterated while it is written", () => {
  const start = (): [TableKey, unknown][] => Array.from({ length: 60 }, (_, i) => [i, i]);

  /** Walks `target`, acting on it at the keys given; returns the keys seen. */
  function walk(
    keys: Iterable<TableKey>,
    target: {
      set(key: TableKey, value: unknown): unknown;
      delete(key: TableKey): unknown;
      clear(): void;
    },
    acts: Readonly<Record<number, string>>,
  ): TableKey[] {
    const seen: TableKey[] = [];
    for (const key of keys) {
      seen.push(key);
      const act = acts[key as number];
      if (act === "add") target.set(`added at ${String(key)}`, 1);
      if (act === "remove next") target.delete((key as number) + 1);
      if (act === "move") {
        target.delete(key);
        target.set(key, "again");
      }
      if (act === "clear") {
        target.clear();
        target.set("after", 1);
      }
      if (seen.length > 200) break;
    }
    return seen;
  }

  test.each<[string, Record<number, string>]>([
    ["additions", { 3: "add", 59: "add" }],
    ["removals", { 3: "remove next", 20: "remove next" }],
    ["an entry that is removed and set again, once more", { 59: "remove next", 7: "add" }],
    ["a clear", { 30: "clear" }],
  ])("sees what a Map's iterator sees: %s", (_, acts) => {
    const map = new Map(start());
    const edit = OrderedTable.of("map", new Map(start())).edit();
    expect(walk(edit.liveKeys(), edit, acts)).toEqual(walk(map.keys(), map, acts));
    expect(entriesOf(edit)).toEqual([...map]);
  });
});

test("an edit says what to remove and what to set so that the same table comes out", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const rng = seededRng(seed);
    const before = new Map<TableKey, unknown>(
      Array.from({ length: rng.below(12) }, (_, i) => [i, i]),
    );
    const base = OrderedTable.of("map", new Map(before));
    const edit = base.edit();
    for (let n = rng.below(20); n > 0; n--) {
      const key = rng.below(15);
      if (rng.chance(0.05)) edit.clear();
      else if (rng.chance(0.4)) edit.delete(key);
      else edit.set(key, rng.uint32());
    }
    const redone = edit.cleared ? new Map<TableKey, unknown>() : new Map(before);
    for (const key of edit.removedKeys()) expect(redone.delete(key)).toBe(true);
    for (const key of edit.changedKeys()) redone.set(key, edit.get(key));
    expect([...redone], `seed ${seed}`).toEqual(entriesOf(edit));
  }
});
