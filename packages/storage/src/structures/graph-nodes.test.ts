import { expect, test } from "vitest";
import { StoreMachine } from "../embedded/store.test.fixture.ts";
import { graph } from "./graph.ts";

test("nodes without keys, and nothing else, are there in the next update and after a crash", async () => {
  const machine = new StoreMachine();
  let store = await machine.open();
  const definitions = { g: graph() };
  let volume = await store.open("v", definitions);
  for (let i = 0; i < 2; i++) await volume.update(({ g }) => g.addNode());
  expect(await volume.read(({ g }) => g.counts())).toMatchObject({ nodes: 2 });
  machine.crash(1);
  store = await machine.open();
  volume = await store.open("v", definitions);
  await volume.update(({ g }) => g.addEdge(0, 1));
  expect(await volume.read(({ g }) => g.counts())).toMatchObject({ nodes: 2, edges: 1 });
});
