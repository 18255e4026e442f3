/** An activation that fails at an extent's facts closes that extent's pages. */
import { expect, it } from "vitest";
import { ActorExtents } from "./actor-extents.ts";

it("closes what it has opened", async () => {
  let open = 0;
  const store = {
    loadExtents: async () => [
      { name: "d", kind: "column", version: 1, lengthBytes: 0, facts: Uint8Array.of(99, 1) },
    ],
    extentPages: async () => {
      open++;
      return {
        peek: () => undefined,
        read: async () => undefined,
        runs: async () => [],
        file: async () => undefined,
        close: () => void open--,
      };
    },
  };
  const owner = { store: store as never, shard: 0 as never, actor: "a" };
  await expect(ActorExtents.open(owner, {}, [])).rejects.toThrow();
  expect(open).toBe(0);
});
