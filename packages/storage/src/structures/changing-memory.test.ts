/** Structures whose extents lose their memory in the middle of a turn, or change under a readonly one. */
import { describe, expect, it, test } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { fillByPage, PAGE_BYTES } from "../extent/extent-pages.ts";
import {
  commit,
  commitLater,
  memoryOf,
  stored,
  tick,
  turnOn,
} from "../extent/held-pages.test.fixture.ts";
import { column } from "./column.ts";
import { graph } from "./graph.ts";
import { map } from "./map.ts";

test("a graph is searched all the same", async () => {
  const extent = new MemoryExtent();
  const handle = graph().open(extent);
  const a = await handle.addNode();
  const b = await handle.addNode();
  await handle.addEdge(a, b);
  extent.resident = false;
  const { hops } = await handle.bfs(a);
  expect(hops.map(({ nodes }) => [...nodes])).toEqual([[a], [b]]);
});

describe("a view of a column", () => {
  it("says that it is not in memory any more", async () => {
    const extent = new MemoryExtent();
    const handle = column("f64", { encoding: "plain" }).open(extent);
    await handle.appendMany(Float64Array.from({ length: 20_000 }, (_, i) => i));
    const view = handle.view();
    expect(view.get(3)).toBe(3);
    extent.resident = false;
    await handle.append(1); // somebody has written meanwhile, as it may
    const gone = expect.objectContaining({ code: "not-resident" });
    expect(() => view.get(15_000)).toThrow(gone);
    expect(() => view.length).toThrow(gone);
    expect(() => view.toTypedArray(0, 4)).toThrow(gone);
    expect(() => view.unsafeView(0, 4)).toThrow(gone);
  });
});

test("a readonly turn gets a long value although others commit all the time", async () => {
  const definition = map({ key: "string", value: "bytes" });
  const [image] = await stored("map", async (turn) => {
    const handle = definition.open(turn);
    await handle.set("long", new Uint8Array(100 * PAGE_BYTES).fill(3));
    for (let i = 0; i < 10; i++) await handle.set(`k${i}`, new Uint8Array(1_000).fill(i));
  });
  let done = false;
  const reading = Promise.resolve(definition.open(turnOn(image, true)).get("long"));
  const read = reading.finally(() => (done = true));
  for (let i = 0; i < 3_000 && !done; i++) {
    await commitLater(image, async (turn) =>
      definition.open(turn).set("k1", new Uint8Array(1_000).fill(i)),
    );
    await tick();
  }
  expect(done).toBe(true);
  expect(await read).toEqual(new Uint8Array(100 * PAGE_BYTES).fill(3));
});

test.each([true, false])(
  "a readonly search goes on although others commit (resident: %s)",
  async (resident) => {
    const definition = graph();
    const [image] = await stored("graph", async (turn) => {
      const handle = definition.open(turn);
      for (let i = 0; i < 2_000; i++) await handle.addNode(`n${i}`);
      for (let i = 0; i < 1_999; i++) await handle.addEdge(i, i + 1);
      while (!(await handle.rebuild()));
    });
    if (resident) expect(await image.load(memoryOf(2 ** 24), fillByPage)).toBe(true);
    let over = false;
    const search = definition
      .open(turnOn(image, true))
      .bfs(0)
      .finally(() => (over = true));
    let commits = 0;
    const others = (async () => {
      for (; !over && commits < 1_000_000; commits++) {
        commit(image, (turn) => turn.append(Uint8Array.of(1)));
        if (commits % 10_000 === 0) await tick();
        else await Promise.resolve();
      }
    })();
    expect((await search).hops.length).toBe(2_000);
    await others;
    expect(commits).toBeGreaterThan(0);
  },
);
