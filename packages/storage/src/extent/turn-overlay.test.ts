import { describe, expect, it } from "vitest";
import { PAGE_BYTES } from "./extent-pages.ts";
import { sparePage, takeSparePage } from "./spare-pages.ts";
import { TurnOverlay } from "./turn-overlay.ts";
import { WRITE_SET_BYTES_MAX, WriteBudget } from "./write-budget.ts";

const memory = (): Uint8Array => Uint8Array.from({ length: 3 * PAGE_BYTES }, (_, i) => i % 251);
const nothing = (): undefined => undefined;

describe("what one turn has written", () => {
  it("keeps a short write without its page, and makes the page when it is looked at", () => {
    const overlay = new TurnOverlay(new WriteBudget());
    const before = memory();
    expect(overlay.patch(PAGE_BYTES + 10, Uint8Array.of(1, 2, 3), false, before)).toBe(true);
    const [range] = overlay.ranges(before.length);
    expect(range).toMatchObject({ offset: PAGE_BYTES + 10, byteCount: 3 });
    expect(overlay.overlaps(0, 0)).toBe(false);
    expect(overlay.get(0)).toBeUndefined();
    const page = before.slice(PAGE_BYTES, 2 * PAGE_BYTES);
    page.set([1, 2, 3], 10);
    expect(overlay.get(1)).toEqual(page);
    expect(overlay.ranges(before.length)).toEqual([
      { offset: PAGE_BYTES + 10, byteCount: 3, parts: [Uint8Array.of(1, 2, 3)] },
    ]);
  });

  it("takes no patch that is long or lies in two pages", () => {
    const overlay = new TurnOverlay(new WriteBudget());
    expect(overlay.patch(0, new Uint8Array(1_025), false, memory())).toBe(false);
    expect(overlay.patch(PAGE_BYTES - 1, new Uint8Array(2), false, memory())).toBe(false);
    expect(overlay.ranges(PAGE_BYTES)).toEqual([]);
  });

  it("has paid for the page of a patch: it is never refused later", () => {
    const budget = new WriteBudget();
    const overlay = new TurnOverlay(budget);
    budget.take(WRITE_SET_BYTES_MAX - PAGE_BYTES);
    expect(overlay.patch(5, Uint8Array.of(9), false, memory())).toBe(true);
    expect(() => budget.take(1)).toThrow(expect.objectContaining({ code: "write-set-too-large" }));
    expect(overlay.get(0)?.[5]).toBe(9);
    const late = new TurnOverlay(budget);
    expect(() => late.patch(0, Uint8Array.of(9), false, memory())).toThrow(
      expect.objectContaining({ code: "write-set-too-large" }),
    );
  });

  it("puts later writes and cuts over it", () => {
    const overlay = new TurnOverlay(new WriteBudget());
    const before = memory();
    const pageOf = (page: number): Uint8Array =>
      overlay.get(page) ?? before.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    overlay.patch(100, Uint8Array.of(1, 1, 1, 1), false, before);
    overlay.write(102, Uint8Array.of(2, 2, 2), pageOf);
    expect(overlay.ranges(before.length)).toEqual([
      { offset: 100, byteCount: 5, parts: [Uint8Array.of(1, 1, 2, 2, 2)] },
    ]);
    overlay.cut(103, pageOf);
    expect(overlay.ranges(103)).toEqual([
      { offset: 100, byteCount: 3, parts: [Uint8Array.of(1, 1, 2)] },
    ]);
    expect(overlay.get(0)?.[103]).toBe(0);
  });

  it("keeps what is not its own", () => {
    const overlay = new TurnOverlay(new WriteBudget());
    const bytes = Uint8Array.of(1);
    overlay.patch(0, bytes, false, memory());
    bytes[0] = 2;
    expect(overlay.ranges(PAGE_BYTES)[0]?.parts).toEqual([Uint8Array.of(1)]);
  });

  it("makes what it was given its own once that has been recorded", () => {
    const overlay = new TurnOverlay(new WriteBudget());
    const bytes = Uint8Array.of(1);
    overlay.patch(0, bytes, true, memory());
    const [recorded] = overlay.ranges(PAGE_BYTES);
    overlay.keep();
    bytes[0] = 2;
    expect(recorded?.parts).toEqual([Uint8Array.of(1)]);
    expect(overlay.get(0)?.[0]).toBe(1);
  });

  it("gives shadows back to be used again, but none that somebody may look at", () => {
    while (takeSparePage() !== undefined);
    const used = (isKept: boolean, isShown: boolean): boolean => {
      sparePage(new Uint8Array(PAGE_BYTES));
      const overlay = new TurnOverlay(new WriteBudget());
      overlay.write(0, new Uint8Array(PAGE_BYTES), nothing);
      overlay.isShown = isShown;
      overlay.clear(isKept);
      return takeSparePage() !== undefined;
    };
    expect(used(false, false)).toBe(true);
    expect(used(true, false)).toBe(false);
    expect(used(false, true)).toBe(false);
  });
});
