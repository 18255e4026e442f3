import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Mailbox } from "./mailbox.ts";

describe("Mailbox", () => {
  it("behaves like a bounded list (property)", () => {
    const op = fc.oneof(
      { weight: 3, arbitrary: fc.record({ op: fc.constant("push" as const), n: fc.nat(50) }) },
      { weight: 3, arbitrary: fc.record({ op: fc.constant("unshift" as const), n: fc.nat(50) }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant("shift" as const), n: fc.constant(0) }) },
      { weight: 2, arbitrary: fc.record({ op: fc.constant("take" as const), n: fc.nat(50) }) },
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 200 }), (ops) => {
        const box = new Mailbox<number>(20);
        const model: number[] = [];
        for (const { op: kind, n } of ops) {
          if (kind === "push") {
            expect(box.push(n)).toBe(model.length < 20);
            if (model.length < 20) model.push(n);
          } else if (kind === "unshift") {
            if (model.length >= 60) continue;
            box.unshift(n);
            model.unshift(n);
          } else if (kind === "shift") expect(box.shift()).toBe(model.shift());
          else {
            const at = model.indexOf(n);
            expect(box.take((x) => x === n)).toBe(at < 0 ? undefined : model.splice(at, 1)[0]);
          }
          expect(box.length).toBe(model.length);
        }
        expect(box.drain()).toEqual(model);
      }),
    );
  });
});
