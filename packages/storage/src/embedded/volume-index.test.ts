/** What is known about extents, over updates, crashes and checkpoints, against a plain model. */
import { isPinionError, seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { ExtentIndexView } from "../extent/turn-extent-index.ts";
import { column } from "../structures/column.ts";
import { StoreMachine } from "./store.test.fixture.ts";
import type { Store } from "./store.ts";

const NAMES = ["a", "b", "c", "d", "e"];
const DECLARED = Object.fromEntries(NAMES.map((name) => [name, column("f64")]));
const OTHER = { next: "previous", previous: "next", "co-accessed": "co-accessed" } as const;
type Kind = keyof typeof OTHER;

interface Known {
  flags: { hot: boolean; prefetch: boolean; hugePages?: boolean; numaNode?: number };
  rowGroup?: number;
  partition?: number;
  bucket?: { fromMs: number; toMs: number };
  /** "kind name" → weight. */
  links: Map<string, number>;
}
type Model = Map<string, Known>;

const newModel = (): Model =>
  new Map(
    NAMES.map((name) => [name, { flags: { hot: false, prefetch: false }, links: new Map() }]),
  );
const copyOf = (model: Model): Model => structuredClone(model);

/** One change, and the same on the model. */
function change(rng: Rng, index: ExtentIndexView, model: Model): void {
  const name = rng.pick(NAMES);
  const known = model.get(name) as Known;
  const to = rng.pick(NAMES.filter((each) => each !== name));
  const other = model.get(to) as Known;
  switch (rng.below(6)) {
    case 0: {
      const hot = rng.chance(0.5);
      const numaNode = rng.pick([undefined, 0, 1]);
      index.setFlags(name, { hot, numaNode });
      Object.assign(known.flags, { hot, numaNode });
      return;
    }
    case 1: {
      const hugePages = rng.pick([undefined, true, false]);
      index.setFlags(name, { hugePages });
      known.flags.hugePages = hugePages as boolean;
      return;
    }
    case 2: {
      const rowGroup = rng.pick([undefined, 0, 1, 2]);
      index.setAttributes(name, { rowGroup });
      known.rowGroup = rowGroup as number;
      return;
    }
    case 3: {
      const fromMs = rng.below(20);
      const timeBucket = rng.pick([undefined, { fromMs, toMs: fromMs + 1 + rng.below(5) }]);
      const partition = rng.pick([undefined, 4, 5]);
      index.setAttributes(name, { timeBucket, partition });
      known.bucket = timeBucket as NonNullable<typeof timeBucket>;
      known.partition = partition as number;
      return;
    }
    case 4: {
      const kind = rng.pick<Kind>(["next", "previous", "co-accessed"]);
      const weight = rng.pick([0.25, 0.5, 1]);
      index.connect(name, to, { kind, weight });
      known.links.set(`${kind} ${to}`, weight);
      other.links.set(`${OTHER[kind]} ${name}`, weight);
      return;
    }
    default: {
      const kind = rng.pick<Kind | undefined>([undefined, "next", "co-accessed"]);
      index.disconnect(name, to, kind);
      for (const each of Object.keys(OTHER) as Kind[]) {
        if (kind !== undefined && each !== kind) continue;
        known.links.delete(`${each} ${to}`);
        other.links.delete(`${OTHER[each]} ${name}`);
      }
    }
  }
}

function verify(index: ExtentIndexView, model: Model): void {
  for (const [name, known] of model) {
    const { flags, attributes, links } = index.facts(name);
    expect(flags).toEqual({ hugePages: undefined, numaNode: undefined, ...known.flags });
    expect(attributes).toEqual({
      rowGroup: known.rowGroup,
      partition: known.partition,
      timeBucket: known.bucket,
    });
    expect(new Map(links.map(({ kind, to, weight }) => [`${kind} ${to}`, weight]))).toEqual(
      known.links,
    );
  }
  const named = (is: (known: Known) => boolean): string[] =>
    [...model].filter(([, known]) => is(known)).map(([name]) => name);
  for (const n of [0, 1, 2]) {
    expect(index.find({ rowGroup: n })).toEqual(named(({ rowGroup }) => rowGroup === n));
    expect(index.find({ partition: n + 3 })).toEqual(named((k) => k.partition === n + 3));
  }
  for (let atMs = 0; atMs < 25; atMs += 3) {
    const expected = named(
      ({ bucket }) => bucket !== undefined && bucket.fromMs <= atMs && atMs < bucket.toMs,
    );
    expect(index.find({ atMs }).toSorted()).toEqual(expected);
  }
}

async function life(rng: Rng, store: Store, before: Model): Promise<Model> {
  let model = before;
  const volume = await store.open("v", DECLARED);
  await volume.read((_, index) => verify(index, model));
  for (let turns = rng.below(15); turns > 0; turns--) {
    const next = copyOf(model);
    const throws = rng.chance(0.25);
    const update = volume.update(async (handles, index) => {
      for (let left = rng.below(6); left > 0; left--) {
        change(rng, index, next);
        if (rng.chance(0.3)) await handles[rng.pick(NAMES)]?.append(left);
      }
      verify(index, next);
      if (throws) throw new RangeError("not like this");
    });
    if (throws) await expect(update).rejects.toThrow(RangeError);
    else {
      await update;
      model = next;
    }
    await volume.read((_, index) => verify(index, model));
  }
  return model;
}

describe("the index of a volume's extents", () => {
  it("is as a plain model of it, over updates that fail, crashes and checkpoints", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const rng = seededRng(seed);
      const machine = new StoreMachine(seed);
      let model = newModel();
      for (let lives = 0; lives < 8; lives++) {
        const store = await machine.open();
        model = await life(rng, store, model);
        if (rng.chance(0.5)) machine.crash();
        else await store.close();
      }
      expect(machine.warnings).toEqual([]);
    }
  });

  it("is not for readers to change, nor for anybody when the turn is over", async () => {
    await using store = await new StoreMachine().open();
    const volume = await store.open("v", DECLARED);
    const write = volume.read((_, index) => index.setFlags("a", { hot: true }));
    await expect(write).rejects.toSatisfy((e) => isPinionError(e, "readonly-violation"));
    const kept = await volume.update((_, index) => [index]);
    for (const use of [
      () => kept[0]?.facts("a"),
      () => kept[0]?.find({ rowGroup: 0 }),
      () => kept[0]?.getHotExtents(1),
      () => kept[0]?.setFlags("a", { hot: true }),
    ])
      expect(use).toThrow(expect.toSatisfy((e) => isPinionError(e, "view-expired")));
    await expect(volume.read((_, index) => index.facts("z"))).rejects.toThrow(
      'volume "v" declares no extent "z"; it has a, b, c, d, e',
    );
  });
});
