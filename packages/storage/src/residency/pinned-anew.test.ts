/** An extent is let go and asked for anew while its pin waits for room in its type's budget. */
import { describe, expect, it } from "vitest";
import { MIB, PinHost, TestTarget } from "./residency.test.fixture.ts";
import { TypeBudgetTable } from "./type-budgets.ts";

describe("a pin that is asked for again with another target", () => {
  it("brings in that one, also where it waited for the bound of its type", async () => {
    const table = TypeBudgetTable.create(4);
    const host = new PinHost(64 * MIB, {
      types: [
        {
          type: "t",
          budget: { pinBytesMax: 2 * MIB, pinShareMax: undefined },
          cells: table.open("t", 0),
        },
      ],
    });
    const make = (key: string, bytes: number): TestTarget => {
      const target = new TestTarget(host.clock, key, bytes);
      target.type = "t";
      return target;
    };
    const old = make("old#d", 2 * MIB);
    old.dropMs = 100;
    await host.pins.pin("old#d", old, { priority: "background" });
    // The first activation of an actor waits for it to go...
    const first = make("a#d", MIB);
    const firstOutcome = host.pins.pin("a#d", first, { priority: "query-critical" });
    await host.clock.advance(10);
    expect(first.state).toBe("absent");
    // ... and ends: its image can never be loaded from now on. The next one begins.
    first.fault = "overloaded";
    host.pins.unpin("a#d");
    const second = make("a#d", MIB);
    const secondOutcome = host.pins.pin("a#d", second, { priority: "query-critical" });
    await host.clock.advance(500);
    expect.soft(await secondOutcome).toEqual({ kind: "locked" });
    expect.soft(second.state).toBe("resident");
    await firstOutcome;
    host.pins.unpin("a#d");
    host.pins.unpin("old#d");
    await host.clock.advance(500);
    expect(table.open("t", 0).usedBytes).toBe(0);
    expect(host.counter.usedBytes).toBe(0);
  });
});
