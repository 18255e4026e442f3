import { isPinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { column } from "../structures/column.ts";
import { map } from "../structures/map.ts";
import { StoreMachine } from "./store.test.fixture.ts";

const AIRPORT = { delays: column("f64"), routes: map<{ km: number }>({ key: "string" }) };

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "nothing was thrown";
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
}

describe("a store", () => {
  it("keeps what an update has changed over a restart, with and without a checkpoint between", async () => {
    const machine = new StoreMachine();
    for (let life = 0; life < 4; life++) {
      const store = await machine.open();
      const airport = await store.open("airport/JFK", AIRPORT);
      expect(await airport.read(({ delays }) => delays.length)).toBe(life);
      const km = await airport.update(async ({ delays, routes }) => {
        await delays.append(12 + life);
        await routes.set(`to ${life}`, { km: 3983 });
        return (await routes.get("to 0"))?.km;
      });
      expect(km).toBe(3983);
      expect(await airport.read(({ routes }) => routes.size())).toBe(life + 1);
      if (life % 2 === 0) machine.crash();
      else await store.close();
    }
  });

  it("keeps nothing of an update that throws, and goes on", async () => {
    const machine = new StoreMachine();
    const store = await machine.open();
    const airport = await store.open("airport/JFK", AIRPORT);
    const failing = airport.update(async ({ delays, routes }) => {
      await delays.append(1);
      await routes.set("LAX", { km: 1 });
      throw new RangeError("not like this");
    });
    await expect(failing).rejects.toThrow(RangeError);
    await airport.update(({ delays }) => delays.append(2));
    expect(await airport.read(({ delays }) => delays.sum())).toBe(2);
    expect(await airport.read(({ routes }) => routes.size())).toBe(0);
    await store.close();
  });
});

export { codeOf };
