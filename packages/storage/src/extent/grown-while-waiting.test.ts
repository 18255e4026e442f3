/** An extent grows while it waits for room, or is loaded. */
import { VirtualClock } from "@pinion/core";
import { expect, it } from "vitest";
import { memoryDoor } from "../memory/open-memory-door.ts";
import { BudgetCounter } from "../residency/budget-counter.ts";
import { TestTarget } from "../residency/residency.test.fixture.ts";
import { PinManager } from "../residency/pin-manager.ts";
import { TypeBudgetTable } from "../residency/type-budgets.ts";
import { ActorExtents } from "./actor-extents.ts";
import { Arena } from "./arena.ts";
import { PinnedResidency } from "./extent-residency.ts";
import { tick } from "./held-pages.test.fixture.ts";

const MIB = 2 ** 20;
const store = { loadExtents: async () => [] } as never;

async function actorOf(name: string) {
  const extents = await ActorExtents.open(
    { store, shard: 0 as never, actor: name },
    { d: { kind: "column", version: 1 } },
    [],
  );
  return { actor: name, extents, names: ["d"], profile: "cold" as const, type: "t" };
}
function append(extents: ActorExtents, bytes: number): void {
  const turn = extents.begin(false);
  turn.extent("d").append(new Uint8Array(bytes).fill(1));
  turn.finish()?.publish();
  turn.end();
}

it("counts what it takes", async () => {
  const clock = new VirtualClock();
  const counter = BudgetCounter.create(16 * MIB, 1);
  const table = TypeBudgetTable.create(1);
  const arena = new Arena(memoryDoor());
  const pins = new PinManager({
    clock,
    budget: counter.open(0),
    types: [
      {
        type: "t",
        budget: { pinBytesMax: 16 * MIB, pinShareMax: undefined },
        cells: table.open("t", 0),
      },
    ],
  });
  const residency = new PinnedResidency(clock, pins, arena);
  const victim = new TestTarget(clock, "v", 16 * MIB);
  await pins.pin("v", victim, { priority: "none" });
  victim.acquire(); // a turn looks at it
  const a = await actorOf("a");
  await residency.activate(a); // begins in the background: 64 KiB are reserved
  await clock.advance(10);
  expect(counter.usedBytes).toBe(16 * MIB);
  append(a.extents, 14 * MIB); // its first turn
  victim.release();
  for (let i = 0; i < 300; i++) {
    await clock.advance(1);
    await tick();
  }
  const taken = a.extents.image("d")!.resident ? arena.stats().usedBytes : 0;
  expect(counter.usedBytes).toBeGreaterThanOrEqual(taken);
  residency.deactivate(a);
  await pins.stop();
  arena.close();
});
