/** `lock` of the real door may reject: what a pin makes of it. */
import { readFile } from "node:fs/promises";
import { systemClock } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { AddonMemory } from "../memory/addon-memory.ts";
import { memoryDoor } from "../memory/open-memory-door.ts";
import { BudgetCounter } from "../residency/budget-counter.ts";
import { PinManager } from "../residency/pin-manager.ts";
import type { PinTarget } from "../residency/pin-types.ts";
import { Arena } from "./arena.ts";
import { ArenaMemory } from "./arena-memory.ts";

const MIB = 2 ** 20;
const door = memoryDoor();
const locked = async (): Promise<number> =>
  Number(/VmLck:\s+(\d+)/.exec(await readFile("/proc/self/status", "utf8"))?.[1] ?? 0);

describe.runIf(door instanceof AddonMemory)(
  "a lock while too many memory operations are under way",
  () => {
    it("is denied, and the pin is resident without it; everything goes in the end", async () => {
      const arena = new Arena(door);
      const counter = BudgetCounter.create(2 ** 30, 1);
      const pins = new PinManager({ clock: systemClock, budget: counter.open(0) });
      const region = door.reserve(4 * MIB);
      await region.populate(0, 4 * MIB);
      let memory: ArenaMemory | undefined;
      const before = await locked();
      const busy: Promise<unknown>[] = [];
      const target: PinTarget = {
        bytes: 512 * MIB,
        owner: "x",
        dataKind: "hot-table",
        pageUse: "scan",
        references: 0,
        load: async ({ placing }) => {
          memory = await ArenaMemory.allocate(arena, 512 * MIB, { ...placing, hugePages: false });
          for (let i = 0; i < 4096; i++) busy.push(region.measure(0, 4 * MIB));
          return {};
        },
        lock: () => memory!.lock(),
        unlock: () => memory!.unlock(),
        drop: async () => memory!.release(),
        measure: async () => undefined,
        move: async () => undefined,
        adjacent: () => [],
      };
      const errors: unknown[] = [];
      const unhandled = (e: unknown): void => void errors.push(e);
      process.on("unhandledRejection", unhandled);
      const outcome = await pins
        .pin("x", target, { priority: "query-critical" })
        .catch((e: unknown) => e);
      await Promise.allSettled(busy);
      expect.soft(outcome).toMatchObject({ kind: "resident", notLocked: "limit" });
      expect.soft(await locked()).toBe(before);
      await pins.stop().catch((e: unknown) => errors.push(e));
      expect.soft(counter.usedBytes).toBe(0);
      expect.soft(arena.stats().committedBytes).toBe(0);
      process.off("unhandledRejection", unhandled);
      expect(errors).toEqual([]);
      region.release();
      arena.close();
    }, 60_000);
  },
);
