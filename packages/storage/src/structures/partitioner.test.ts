import { seededRng, type Rng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { measurePartition, partitionByLabelPropagation, type EdgeArrays } from "./partitioner.ts";
import { testSeed } from "./test-seed.test.fixture.ts";

/** Communities of equal size: `inside` edges a node within, `outside` to anywhere. Numbers say nothing about who belongs to whom. */
function communities(
  rng: Rng,
  count: number,
  size: number,
  inside: number,
  outside: number,
): EdgeArrays {
  const nodes = count * size;
  const numbers = Uint32Array.from({ length: nodes }, (_, i) => i);
  for (let i = nodes - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    [numbers[i], numbers[j]] = [numbers[j] as number, numbers[i] as number];
  }
  const sources: number[] = [];
  const targets: number[] = [];
  for (let node = 0; node < nodes; node++) {
    const first = node - (node % size);
    for (let i = 0; i < inside + outside; i++) {
      sources.push(numbers[node] as number);
      targets.push(numbers[i < inside ? first + rng.below(size) : rng.below(nodes)] as number);
    }
  }
  return { nodes, sources: Uint32Array.from(sources), targets: Uint32Array.from(targets) };
}

describe("the partitioner", () => {
  test("cuts little more than the edges between communities, and keeps parts balanced", () => {
    const seed = testSeed();
    const rng = seededRng(seed);
    const edges = communities(rng, 32, 100, 8, 1);
    const partition = partitionByLabelPropagation(edges, { parts: 4, balance: 1.1, rng });
    // Of the one edge in nine that leads anywhere, three in four leave the part: 8 %. A random partition cuts 75 %.
    expect(partition.cutShare, `seed ${seed}`).toBeLessThan(0.2);
    expect(partition.balance, `seed ${seed}`).toBeLessThanOrEqual(1.1);
    expect(
      partition.sizes.reduce((a, b) => a + b),
      `seed ${seed}`,
    ).toBe(3_200);
  });

  test("keeps to the balance on random graphs of any shape, and measures what it made", () => {
    const seed = testSeed();
    const rng = seededRng(seed);
    for (let round = 0; round < 60; round++) {
      const nodes = rng.below(200);
      const count = nodes === 0 ? 0 : rng.below(nodes * 4);
      const node = (): number => (rng.chance(0.3) ? 0 : rng.below(nodes)); // hubs
      const edges = {
        nodes,
        sources: Uint32Array.from({ length: count }, node),
        targets: Uint32Array.from({ length: count }, node),
      };
      const parts = 1 + rng.below(9);
      const balance = rng.pick([1, 1.05, 1.5]);
      const partition = partitionByLabelPropagation(edges, { parts, balance, rng });
      const note = `seed ${seed}, round ${round}`;
      const room = Math.ceil((nodes / parts) * balance);
      const sizes = new Uint32Array(parts);
      for (const part of partition.partOf) (sizes[part] as number)++;
      expect(partition.sizes, note).toEqual(sizes);
      expect(Math.max(0, ...sizes), note).toBeLessThanOrEqual(room);
      const { cutEdges } = measurePartition(edges, partition.partOf, sizes);
      expect(partition.cutEdges, note).toBe(cutEdges);
      expect(cutEdges, note).toBe(
        [...edges.sources].filter(
          (a, i) => partition.partOf[a] !== partition.partOf[edges.targets[i] as number],
        ).length,
      );
    }
  });

  test("gives the same parts for the same seed", () => {
    const edges = communities(seededRng(1), 8, 50, 6, 1);
    const make = (seed: number) =>
      partitionByLabelPropagation(edges, { parts: 3, rng: seededRng(seed) }).partOf;
    expect(make(5)).toEqual(make(5));
    expect(make(5)).not.toEqual(make(6));
  });

  test("refuses edges to nodes that there are not", () => {
    const edges = { nodes: 2, sources: Uint32Array.of(0), targets: Uint32Array.of(2) };
    expect(() => partitionByLabelPropagation(edges, { parts: 2, rng: seededRng(1) })).toThrow(
      "node 2 of 2",
    );
    expect(() =>
      partitionByLabelPropagation({ ...edges, nodes: 3 }, { parts: 0, rng: seededRng(1) }),
    ).toThrow("0 parts");
  });
});
