import { seededRng, type Rng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import type { Portal } from "./graph-bfs.ts";
import { testSeed } from "./test-seed.test.fixture.ts";
import { graph, type GraphHandle } from "./graph.ts";

const roads = graph({ weights: true, labels: true });
const plain = graph();

type Target = number | Portal;
const nameOf = (target: Target): string =>
  typeof target === "number" ? String(target) : `${target.actor}#${target.node}`;

/** Adjacency as anybody would write it down. */
class Model {
  nodes = 0;
  readonly edges = new Map<number, Map<string, number>>();

  of(node: number): Map<string, number> {
    let edges = this.edges.get(node);
    if (edges === undefined) this.edges.set(node, (edges = new Map()));
    return edges;
  }

  get edgeCount(): number {
    return [...this.edges.values()].reduce((sum, edges) => sum + edges.size, 0);
  }
}

async function neighboursOf(handle: GraphHandle, node: number): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const edge of await handle.readNeighbours(node)) {
    const target = edge.portal === undefined ? edge.target : await handle.portal(edge.portal);
    found.set(`${nameOf(target)}/${edge.label}`, edge.weight);
  }
  return found;
}

async function expectSame(handle: GraphHandle, model: Model, note: string): Promise<void> {
  await handle.verify();
  const counts = await handle.counts();
  expect([counts.nodes, counts.edges], note).toEqual([model.nodes, model.edgeCount]);
  for (let node = 0; node < model.nodes; node++) {
    expect(await neighboursOf(handle, node), `${note}, node ${node}`).toEqual(model.of(node));
    expect(await handle.degree(node), `${note}, node ${node}`).toBe(model.of(node).size);
  }
}

describe.each([{ resident: true }, { resident: false }])(
  "a graph, resident: $resident",
  ({ resident }) => {
    test("agrees with sets of edges through random changes, rebuilds and reopenings", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const note = `seed ${seed}`;
      const model = new Model();
      let extent = new MemoryExtent({ resident });
      let handle = roads.open(extent);
      const steps = resident ? 6_000 : 3_000;
      const pickTarget = (): Target =>
        rng.chance(0.1)
          ? { actor: `part/${rng.below(3)}`, node: rng.below(20) }
          : pickNode(rng, model.nodes);
      for (let step = 0; step < steps; step++) {
        if (model.nodes < 5 || rng.chance(0.02)) {
          expect(await handle.addNode(), note).toBe(model.nodes++);
          continue;
        }
        const [from, to, label] = [pickNode(rng, model.nodes), pickTarget(), rng.below(2)];
        const name = `${nameOf(to)}/${label}`;
        // Times of growth and times of shrinking.
        if (rng.chance(Math.floor(step / 1000) % 3 === 2 ? 0.1 : 0.8)) {
          const weight = rng.below(1000) / 4;
          const isNew = await handle.addEdge(from, to, { weight, label });
          expect(isNew, note).toBe(!model.of(from).has(name));
          model.of(from).set(name, weight);
        } else {
          expect(await handle.removeEdge(from, to, label), note).toBe(model.of(from).delete(name));
        }
        if (rng.chance(0.05)) {
          expect(await handle.hasEdge(from, to, label), note).toBe(model.of(from).has(name));
        }
        if (rng.chance(0.003)) await handle.rebuild(rng.chance(0.5) ? 1 : undefined);
        if (step % 100 === 0) {
          extent = new MemoryExtent({ resident, bytes: extent.bytes });
          handle = roads.open(extent);
        }
        if (step % 1500 === 1499) await expectSame(handle, model, `${note}, step ${step}`);
      }
      expect(await handle.rebuild(), note).toBe(true);
      expect((await handle.counts()).changes, note).toBe(0);
      await expectSame(handle, model, note);
      for (const [node, edges] of model.edges) {
        for (const name of edges.keys()) {
          const [target, label] = splitName(name);
          const to = /^\d+$/.test(target) ? Number(target) : portalOf(target);
          expect(await handle.removeEdge(node, to, Number(label)), note).toBe(true);
        }
        edges.clear();
      }
      await expectSame(handle, model, note);
      await handle.rebuild();
      expect(await handle.counts(), note).toMatchObject({
        edges: 0,
        blocks: 0,
        blockEdges: 0,
        changes: 0,
      });
      await expectSame(handle, model, note);
    });

    test("a node with more edges than a block has room for is found whole, in order", async () => {
      const handle = plain.open(new MemoryExtent({ resident }));
      const nodes = 17_000; // a block has room for 16,381
      for (let i = 0; i < nodes; i++) await handle.addNode();
      for (let i = 0; i < nodes; i++) await handle.addEdge(7, (i * 7919) % nodes);
      for (let i = 0; i < 100; i++) await handle.addEdge(6, i);
      for (let i = 0; i < 100; i++) await handle.addEdge(8, i);
      for (const round of ["changes", "blocks", "both"]) {
        if (round === "blocks") expect(await handle.rebuild()).toBe(true);
        if (round === "both") await handle.removeEdge(7, 0);
        const first = round === "both" ? 1 : 0;
        const found = await handle.readNeighbours(7);
        // As text: element by element this takes seconds.
        expect(Array.from(found, ({ target }) => target).join(), round).toBe(
          Array.from({ length: nodes - first }, (_, i) => i + first).join(),
        );
        expect(await handle.degree(7), round).toBe(nodes - first);
        expect(await handle.degree(6), round).toBe(100);
        expect((await handle.readNeighbours(8)).length, round).toBe(100);
        expect(await handle.hasEdge(7, nodes - 1), round).toBe(true);
        expect(await handle.hasEdge(9, 1), round).toBe(false);
        await handle.verify();
      }
      expect((await handle.counts()).blocks).toBeGreaterThan(1);
    });

    test("asks for a rebuild at a quarter, and a rebuild stops where it is told to", async () => {
      const handle = plain.open(new MemoryExtent({ resident }));
      for (let i = 0; i < 2_000; i++) await handle.addNode();
      expect(await handle.needsRebuild()).toBe(false);
      for (let i = 0; i < 20_000; i++)
        await handle.addEdge((i * 31) % 2_000, (i * 7 + Math.floor(i / 2_000)) % 2_000);
      expect(await handle.needsRebuild()).toBe(true);
      let turns = 0;
      while (!(await handle.rebuild(1))) {
        turns++;
        await handle.verify();
      }
      expect(turns).toBeGreaterThan(0);
      expect(await handle.needsRebuild()).toBe(false);
      expect(await handle.counts()).toMatchObject({
        edges: 20_000,
        blockEdges: 20_000,
        changes: 0,
      });
    });
  },
);

/** The label is behind the last slash; an actor's key may have others. */
function splitName(name: string): [string, string] {
  const at = name.lastIndexOf("/");
  return [name.slice(0, at), name.slice(at + 1)];
}

function portalOf(name: string): Portal {
  const [actor, node] = name.split("#");
  return { actor: actor as string, node: Number(node) };
}

/** Some nodes have many edges. */
const pickNode = (rng: Rng, nodes: number): number =>
  rng.chance(0.3) ? rng.below(Math.min(4, nodes)) : rng.below(nodes);

describe("a graph", () => {
  test("knows nodes by their keys", async () => {
    const handle = plain.open(new MemoryExtent());
    expect(await handle.addNode("AMS")).toBe(0);
    expect(await handle.addNode()).toBe(1);
    expect(await handle.addNode("BER")).toBe(2);
    expect(await handle.addNode("AMS")).toBe(0);
    expect(await handle.nodeOf("BER")).toBe(2);
    expect(await handle.nodeOf("CDG")).toBeUndefined();
    expect(await handle.keyOf(0)).toBe("AMS");
    expect(await handle.keyOf(1)).toBeUndefined();
    expect((await handle.counts()).nodes).toBe(3);
  });

  test("refuses nodes, weights and labels that there are not", async () => {
    const handle = plain.open(new MemoryExtent());
    await handle.addNode();
    const refused = { code: "invalid-argument" };
    await expect(async () => handle.addEdge(0, 1)).rejects.toMatchObject(refused);
    await expect(async () => handle.addEdge(1, 0)).rejects.toMatchObject(refused);
    await expect(async () => handle.addEdge(0, 0, { weight: 2 })).rejects.toMatchObject(refused);
    await expect(async () => handle.addEdge(0, 0, { label: 1 })).rejects.toMatchObject(refused);
    await expect(async () => handle.bfs(1)).rejects.toMatchObject(refused);
    await expect(async () => handle.readNeighbours(-1)).rejects.toMatchObject(refused);
    expect(() => handle.neighbours(0.5)).toThrow("node 0.5");
    await expect(async () => handle.portal(0)).rejects.toMatchObject({ code: "not-found" });
    expect(() => graph({ grow: "1MiB" })).toThrow("grow is 1048576");
  });

  test("shows neighbours until it is written to or the turn ends, and at once only what is in memory", async () => {
    const extent = new MemoryExtent();
    const handle = plain.open(extent);
    await handle.addNode();
    await handle.addNode();
    await handle.addEdge(0, 1);
    await handle.rebuild();
    const before = handle.neighbours(0);
    expect(before.target(0)).toBe(1);
    expect(() => before.target(1)).toThrow("edge 1 of 1");
    await handle.addEdge(0, 0);
    expect(() => before.target(0)).toThrow(expect.objectContaining({ code: "view-expired" }));
    await handle.rebuild();
    const after = handle.neighbours(0);
    extent.end();
    expect(() => after.target(0)).toThrow(expect.objectContaining({ code: "view-expired" }));
    const cold = plain.open(new MemoryExtent({ bytes: extent.bytes, resident: false }));
    expect(() => cold.neighbours(0)).toThrow(expect.objectContaining({ code: "not-resident" }));
    expect((await cold.readNeighbours(0)).length).toBe(2);
  });

  test("is not changed by a readonly turn", async () => {
    const writable = new MemoryExtent();
    const handle = plain.open(writable);
    await handle.addNode();
    await handle.addEdge(0, 0);
    const readonly = plain.open(new MemoryExtent({ bytes: writable.bytes, readonly: true }));
    const violation = { code: "readonly-violation" };
    await expect(async () => readonly.addNode()).rejects.toMatchObject(violation);
    await expect(async () => readonly.removeEdge(0, 0)).rejects.toMatchObject(violation);
    await expect(async () => readonly.rebuild()).rejects.toMatchObject(violation);
    expect(await readonly.hasEdge(0, 0)).toBe(true);
  });
});
