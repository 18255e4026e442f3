/** What every `StateStore` does, over every `KvStore`. */
import { seededRng, shardId, type Rng } from "@pinion/core";
import {
  crc32c,
  KvStateStore,
  SimKv,
  type ActorRecord,
  type KvEntry,
  type ShardCheckpoint,
  type StateStore,
} from "@pinion/storage";
import {
  overLmdb,
  overSegments,
  overSimKv,
  SegmentMachine,
  type StateStoreUnderTest,
} from "./fixtures/state-stores.ts";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SHARD, record, reminder, checkpoint, error, plain } from "./fixtures/state-records.ts";

describe.each([
  ["KvStateStore over LmdbKv", overLmdb],
  ["KvStateStore over SimKv", overSimKv],
  ["SegmentStateStore", async () => overSegments(SHARD)],
])("%s", (_, make) => {
  let under: StateStoreUnderTest;
  let store: StateStore;

  beforeEach(async () => {
    under = await make();
    store = await under.open();
  });
  afterEach(async () => {
    await store.close();
    await under.stop();
  });

  const rows = async (table: string): Promise<KvEntry[]> => {
    await store.close();
    const found = await under.rows(table);
    store = await under.open();
    return found;
  };
  const due = async (
    beforeMs: number,
    limit = 100,
    after?: Parameters<StateStore["remindersDue"]>[3],
  ) =>
    (await store.remindersDue(SHARD, beforeMs, limit, after)).map(
      ({ actor, reminder: one }) =>
        `${actor} ${one.name} ${one.dueMs} ${Buffer.from(one.body).toString()}`,
    );

  it("knows nothing of a shard nobody has written to", async () => {
    expect(await store.appliedLsn(SHARD)).toBe(0);
    expect(await store.load(SHARD, "counter/a")).toBeUndefined();
    expect(await store.facts(SHARD, "")).toEqual([]);
    expect(await store.remindersDue(SHARD, Infinity, 10)).toEqual([]);
    expect(await store.list(SHARD, { limit: 10 })).toEqual([]);
  });

  it("loads what was checkpointed, also after it was opened again", async () => {
    const reminders = [reminder("a", 10), reminder("b", 5)];
    const actors = {
      "counter/small": record(7, Buffer.from("state"), reminders),
      "counter/none": record(8),
      "counter/empty": record(9, Buffer.alloc(0)),
      "counter/large": record(10, Buffer.alloc(1 << 20, 7)),
      "tür/größe": record(11, Buffer.from("x")),
    };
    await store.checkpoint([checkpoint(11, actors, { "dedupe/1": "one" })]);
    for (let round = 0; round < 2; round++) {
      for (const [actor, expected] of Object.entries(actors)) {
        expect(plain(await store.load(SHARD, actor))).toEqual(plain(expected));
      }
      expect(await store.appliedLsn(SHARD)).toBe(11);
      expect(plain(await store.facts(SHARD, ""))).toEqual(
        plain([{ name: "dedupe/1", value: Buffer.from("one") }]),
      );
      await store.close();
      store = await under.open();
    }
  });

  it("replaces and deletes actors with everything that belongs to them", async () => {
    await store.checkpoint([
      checkpoint(1, {
        "a/1": record(1, Buffer.alloc(5_000), [reminder("x", 1), reminder("y", 2)]),
        "a/2": record(1, Buffer.alloc(5_000), [reminder("x", 1)]),
        "a/3": record(1, Buffer.from("small")),
      }),
    ]);
    await store.checkpoint([
      checkpoint(2, {
        "a/1": record(2, Buffer.from("small"), [reminder("y", 7)]),
        "a/2": undefined,
        "a/3": record(2, Buffer.alloc(9_000, 1)),
        "a/4": undefined,
      }),
    ]);
    expect(plain(await store.load(SHARD, "a/1"))).toEqual(
      plain(record(2, Buffer.from("small"), [reminder("y", 7)])),
    );
    expect(await store.load(SHARD, "a/2")).toBeUndefined();
    expect((await store.load(SHARD, "a/3"))?.state?.length).toBe(9_000);
    expect(await due(Infinity)).toEqual(["a/1 y 7 y 7"]);
    expect(await rows("state-large")).toHaveLength(1);
    await store.checkpoint([checkpoint(3, { "a/1": undefined, "a/3": undefined })]);
    for (const table of ["actors", "large", "extras", "due"]) {
      expect(await rows(`state-${table}`)).toEqual([]);
    }
  });

  it("lists reminders by due time, page by page, without those of other shards", async () => {
    await store.checkpoint([
      checkpoint(1, {
        "a/1": record(1, undefined, [reminder("late", 3_000), reminder("soon", 1_000)]),
        "a/2": record(1, undefined, [
          reminder("soon", 1_000),
          reminder("tie", 1_000),
          reminder("half", 1_000.5),
        ]),
      }),
      checkpoint(1, { "a/1": record(1, undefined, [reminder("other", 1)]) }, {}, shardId(4)),
    ]);
    const all = [
      "a/1 soon 1000 soon 1000",
      "a/2 soon 1000 soon 1000",
      "a/2 tie 1000 tie 1000",
      "a/2 half 1000.5 half 1000.5",
      "a/1 late 3000 late 3000",
    ];
    expect(await due(Infinity)).toEqual(all);
    expect(await due(3_000)).toEqual(all.slice(0, 4));
    expect(await due(1_000)).toEqual([]);
    expect(await due(-5)).toEqual([]);
    expect(await due(Infinity, 2)).toEqual(all.slice(0, 2));
    expect(await due(Infinity, 2, { dueMs: 1_000, actor: "a/2", name: "soon" })).toEqual(
      all.slice(2, 4),
    );
    expect(await due(Infinity, 0)).toEqual([]);
  });

  it("moves a reminder, keeps one that stays, and forgets one that is gone", async () => {
    const actor = (...reminders: ActorRecord["reminders"]) => ({
      "a/1": record(1, undefined, reminders),
    });
    await store.checkpoint([
      checkpoint(1, actor(reminder("a", 1), reminder("b", 2), reminder("c", 3))),
    ]);
    await store.checkpoint([checkpoint(2, actor(reminder("a", 9), reminder("b", 2)))]);
    expect(await due(Infinity)).toEqual(["a/1 b 2 b 2", "a/1 a 9 a 9"]);
  });

  it("lists actors in order of key, by prefix and page", async () => {
    const names = ["b/1", "a/2", "a/10", "a/1", "ab/1", "ä/1"];
    await store.checkpoint([
      checkpoint(
        5,
        Object.fromEntries(names.map((name, i) => [name, record(i, Buffer.alloc(i * 1_000))])),
      ),
      checkpoint(5, { "a/0": record(1) }, {}, shardId(2)),
    ]);
    const list = async (options: Parameters<StateStore["list"]>[1]) =>
      (await store.list(SHARD, options)).map(({ actor }) => actor);
    expect(await list({ limit: 100 })).toEqual(["a/1", "a/10", "a/2", "ab/1", "b/1", "ä/1"]);
    expect(await list({ limit: 100, prefix: "a/" })).toEqual(["a/1", "a/10", "a/2"]);
    expect(await list({ limit: 2, prefix: "a", after: "a/10" })).toEqual(["a/2", "ab/1"]);
    expect(await list({ limit: 100, prefix: "b", after: "a/2" })).toEqual(["b/1"]);
    expect(await list({ limit: 0 })).toEqual([]);
    expect(await store.list(SHARD, { limit: 1, prefix: "ab" })).toEqual([
      { shard: SHARD, actor: "ab/1", stateBytes: 4_000, lsn: 4 },
    ]);
  });

  it("handles thousands of actors, reminders and facts", async () => {
    const count = 2_500;
    const name = (i: number): string => `a/${String(i).padStart(5, "0")}`;
    const actors = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [
        name(i),
        record(i + 1, Buffer.from(`${i}`), [reminder("r", i)]),
      ]),
    );
    const facts = Object.fromEntries(Array.from({ length: count }, (_, i) => [name(i), `${i}`]));
    await store.checkpoint([checkpoint(count, actors, facts)]);
    expect((await store.list(SHARD, { limit: 10_000 })).map(({ actor }) => actor)).toEqual(
      Object.keys(actors),
    );
    expect(await store.remindersDue(SHARD, Infinity, 10_000)).toHaveLength(count);
    expect((await store.remindersDue(SHARD, Infinity, 1_500)).at(-1)?.actor).toBe(name(1_499));
    expect(await store.facts(SHARD, "")).toHaveLength(count);
    expect((await store.facts(SHARD, "a/012")).map((fact) => fact.name)).toEqual(
      Array.from({ length: 100 }, (_, i) => name(1_200 + i)),
    );
    expect(plain(await store.load(SHARD, name(1_234)))).toEqual(plain(actors[name(1_234)]));
  });

  it("replaces and deletes facts by name", async () => {
    await store.checkpoint([checkpoint(1, {}, { "open/1": "a", "open/2": "b", "outbox/1": "c" })]);
    await store.checkpoint([
      checkpoint(2, {}, { "open/1": undefined, "open/2": "d", "open/3": "" }),
    ]);
    expect(
      (await store.facts(SHARD, "open/")).map(
        ({ name, value }) => `${name}=${Buffer.from(value).toString()}`,
      ),
    ).toEqual(["open/2=d", "open/3="]);
    expect(await store.facts(shardId(4), "")).toEqual([]);
  });

  it("runs checkpoints one after the other", async () => {
    const checkpoints = Array.from({ length: 20 }, (_, i) =>
      store.checkpoint([
        checkpoint(i + 1, {
          "a/1": record(i + 1, undefined, [reminder("r", i), reminder(`r${i}`, 5)]),
        }),
      ]),
    );
    await Promise.all(checkpoints);
    expect(await store.appliedLsn(SHARD)).toBe(20);
    expect(await due(Infinity)).toEqual(["a/1 r19 5 r19 5", "a/1 r 19 r 19"]);
    expect(await rows("state-due")).toHaveLength(2);
  });

  it("refuses input out of bounds and stores nothing of its checkpoint", async () => {
    const cases: [string, ShardCheckpoint][] = [
      [
        "state-too-large",
        checkpoint(1, { "a/1": record(1), "a/2": record(1, Buffer.alloc((1 << 20) + 1)) }),
      ],
      ["invalid-argument", checkpoint(1, { "a/1": record(1), "": record(1) })],
      [
        "invalid-argument",
        checkpoint(1, { "a/1": record(1), [`a/${"x".repeat(1_100)}`]: record(1) }),
      ],
      ["invalid-argument", checkpoint(1, { "a/1": record(1, undefined, [reminder("r", NaN)]) })],
      ["invalid-argument", checkpoint(1, { "a/1": record(1, undefined, [reminder("", 1)]) })],
      ["invalid-argument", checkpoint(1, { "a/1": record(1) }, { "a\0b": "x" })],
    ];
    for (const [code, bad] of cases) expect((await error(store.checkpoint([bad]))).code).toBe(code);
    expect(await store.appliedLsn(SHARD)).toBe(0);
    expect(await store.list(SHARD, { limit: 10 })).toEqual([]);
    await store.checkpoint([checkpoint(1, { "a/1": record(1) })]);
    expect((await error(store.checkpoint([checkpoint(0)]))).code).toBe("internal");
  });

  it("names the actor whose record is damaged, and serves the others", async () => {
    const damaged: string[] = [];
    const actor = (n: number) => record(1, Buffer.alloc(n * 2_000, n), [reminder("r", n)]);
    await store.checkpoint([
      checkpoint(1, { "a/0": actor(0), "a/1": actor(1), "a/2": actor(2), "a/3": actor(3) }),
    ]);
    for (const [table, index] of [
      ["state-actors", 0],
      ["state-large", 0],
      ["state-extras", 2],
    ] as const) {
      const entry = (await rows(table))[index];
      const value = entry?.value.slice() ?? new Uint8Array(1);
      value[value.length - 1] = (value.at(-1) as number) ^ 4;
      await store.close();
      await under.put([{ table, key: entry?.key ?? new Uint8Array(1), value }]);
      store = await under.open({ onDamage: (e) => damaged.push(e.message) });
    }
    for (const name of ["a/0", "a/1", "a/2"]) {
      expect(await error(store.load(SHARD, name))).toMatchObject({
        code: "corruption",
        message: expect.stringContaining(`actor ${name}`) as string,
        details: { shard: SHARD, actor: name },
      });
    }
    expect(plain(await store.load(SHARD, "a/3"))).toEqual(plain(actor(3)));
    expect(damaged).toEqual([]);
    expect((await store.list(SHARD, { limit: 9 })).map((one) => one.damaged ?? false)).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect((await due(Infinity)).map((text) => text.slice(0, 3))).toEqual(["a/0", "a/1", "a/3"]);
    expect(damaged).toHaveLength(2);
    await store.checkpoint([checkpoint(2, { "a/0": actor(0), "a/1": actor(1), "a/2": actor(2) })]);
    expect(plain(await store.load(SHARD, "a/2"))).toEqual(plain(actor(2)));
  });

  it("refuses a store of a newer format, and one whose format cannot be read", async () => {
    await store.checkpoint([checkpoint(1)]);
    const [entry] = await rows("state-meta");
    const { key, value } = entry ?? { key: new Uint8Array(), value: new Uint8Array() };
    value[8] = 9;
    const outcomes = async (): Promise<string[]> => {
      await store.close();
      await under.put([{ table: "state-meta", key, value }]);
      store = await under.open();
      return [
        (await error(store.load(SHARD, "a/1"))).code,
        (await error(store.checkpoint([checkpoint(2)]))).code,
      ];
    };
    expect(await outcomes()).toEqual(["corruption", "corruption"]);
    new DataView(value.buffer, value.byteOffset).setUint32(
      0,
      crc32c(value.subarray(4), crc32c(key)),
      true,
    );
    expect(await outcomes()).toEqual(["format-too-new", "format-too-new"]);
  });
});

interface Crashing {
  open(): StateStore;
  onOperation(hook: ((count: number) => void) | undefined): void;
  crash(): void;
}

function crashingKv(rng: Rng): Crashing {
  let kv = new SimKv({ rng });
  return {
    open: () => new KvStateStore(kv),
    onOperation: (hook) => {
      kv.onOperation = hook && (({ index }) => hook(index));
    },
    crash: () => {
      kv = kv.crash();
    },
  };
}

function crashingSegments(rng: Rng): Crashing {
  const machine = new SegmentMachine(rng);
  return {
    open: () => machine.open(),
    onOperation: (hook) => {
      let count = 0;
      machine.onOperation = hook && (() => hook(++count));
    },
    crash: () => machine.crash(),
  };
}

describe.each([
  ["KvStateStore", crashingKv, 25],
  ["SegmentStateStore", crashingSegments, 90],
])("%s at a crash", (_, make, operationsMax) => {
  interface Model {
    readonly applied: number;
    readonly actors: ReadonlyMap<string, ActorRecord>;
    readonly facts: ReadonlyMap<string, string>;
  }

  function randomCheckpoint(rng: Rng, at: number): ShardCheckpoint {
    const actors: Record<string, ActorRecord | undefined> = {};
    const facts: Record<string, string | undefined> = {};
    for (let i = rng.below(6); i > 0; i--) {
      const reminders = Array.from({ length: rng.below(3) }, (_, n) =>
        reminder(`r${n}`, rng.below(50)),
      );
      const state = rng.chance(0.8)
        ? Buffer.alloc(rng.below(rng.chance(0.2) ? 4_000 : 20), at)
        : undefined;
      actors[`a/${rng.below(8)}`] = rng.chance(0.8) ? record(at, state, reminders) : undefined;
    }
    for (let i = rng.below(3); i > 0; i--)
      facts[`f${rng.below(4)}`] = rng.chance(0.7) ? `at ${at}` : undefined;
    return checkpoint(at, actors, facts);
  }

  function apply(model: Model, one: ShardCheckpoint): Model {
    const actors = new Map(model.actors);
    const facts = new Map(model.facts);
    for (const [actor, value] of one.actors) {
      if (value) actors.set(actor, value);
      else actors.delete(actor);
    }
    for (const [name, value] of one.facts) {
      if (value) facts.set(name, Buffer.from(value).toString());
      else facts.delete(name);
    }
    return { applied: one.appliedLsn, actors, facts };
  }

  async function read(store: StateStore): Promise<unknown> {
    const actors: Record<string, unknown> = {};
    for (const { actor } of await store.list(SHARD, { limit: 100 }))
      actors[actor] = await store.load(SHARD, actor);
    const facts = (await store.facts(SHARD, "")).map(({ name, value }) => [
      name,
      Buffer.from(value).toString(),
    ]);
    const due = (await store.remindersDue(SHARD, Infinity, 100)).map(
      ({ actor, reminder: one }) => ({ actor, ...one }),
    );
    return plain({ applied: await store.appliedLsn(SHARD), actors, facts, due });
  }

  function expectedOf(model: Model): unknown {
    const actors = [...model.actors].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const due = actors
      .flatMap(([actor, { reminders }]) => reminders.map((one) => ({ actor, ...one })))
      .toSorted((a, b) => a.dueMs - b.dueMs || (a.actor + a.name < b.actor + b.name ? -1 : 1));
    const facts = [...model.facts].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return plain({ applied: model.applied, actors: Object.fromEntries(actors), facts, due });
  }

  it("has a prefix of the checkpoints, and all that resolved, wherever it was cut", async () => {
    const survivors = new Set<number>();
    for (let seed = 0; seed < 400; seed++) {
      const rng = seededRng(seed);
      const machine = make(rng);
      let models: Model[] = [{ applied: 0, actors: new Map(), facts: new Map() }];
      let resolved = 0;
      for (let life = 0; life < 3; life++) {
        const store = machine.open();
        const cut = Promise.withResolvers<void>();
        const cutAt = 1 + rng.below(operationsMax);
        const crash = (): void => {
          machine.onOperation(undefined);
          machine.crash();
          cut.resolve();
        };
        machine.onOperation((count) => {
          if (count === cutAt) crash();
        });
        const first = models.length;
        void (async () => {
          for (let i = 0; i < 8; i++) {
            const one = randomCheckpoint(rng, first + i);
            models.push(apply(models.at(-1) as Model, one));
            await store.checkpoint([one]);
            resolved = models.length - 1;
          }
          crash();
        })();
        await cut.promise;
        const found = await read(machine.open());
        const index = (found as { applied: number }).applied;
        const model = models.findIndex(({ applied }) => applied === index);
        expect(found, `seed ${seed}, life ${life}, cut at ${cutAt}`).toEqual(
          expectedOf(models[model] as Model),
        );
        expect(model).toBeGreaterThanOrEqual(resolved);
        survivors.add(models.length - 1 - model);
        models = models.slice(0, model + 1);
        resolved = model;
      }
    }
    expect([...survivors].toSorted((a, b) => a - b)).toEqual([0, 1]);
  });
});
