import { seededRng } from "@pinion/core";
import { expect, it } from "vitest";
import { References } from "./references.ts";

it("waits for those that look, and for nobody who comes later", async () => {
  const references = new References();
  const first = references.add();
  const order: string[] = [];
  const one = references.whenNone().then(() => order.push("one"));
  const second = references.add();
  const two = references.whenNone().then(() => order.push("two"));
  references.add();
  references.drop(second);
  await Promise.resolve();
  expect(order).toEqual([]); // the first looks at what the second waits for, too
  references.drop(first);
  await Promise.all([one, two]);
  expect(order).toEqual(["one", "two"]);
  expect(references.count).toBe(1);
});

it("agrees with a plain list of who was there", async () => {
  for (let seed = 0; seed < 200; seed++) {
    const rng = seededRng(seed);
    const references = new References();
    const lookers = new Map<number, ReturnType<References["add"]>>();
    const waiting: { for: Set<number>; done: boolean }[] = [];
    for (let step = 0; step < 60; step++) {
      const what = rng.below(5);
      if (what < 2) lookers.set(step, references.add());
      else if (what < 4 && lookers.size > 0) {
        const who = rng.pick([...lookers.keys()]);
        references.drop(lookers.get(who)!);
        lookers.delete(who);
        for (const wait of waiting) wait.for.delete(who);
      } else {
        const wait = { for: new Set(lookers.keys()), done: false };
        waiting.push(wait);
        void references.whenNone().then(() => (wait.done = true));
      }
      await Promise.resolve();
      await Promise.resolve();
      for (const wait of waiting) expect(wait.done, `seed ${seed}`).toBe(wait.for.size === 0);
      expect(references.count).toBe(lookers.size);
    }
  }
});
