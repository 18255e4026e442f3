import { isPinionError, seededRng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { graph } from "./graph.ts";
import { testSeed } from "./test-seed.test.fixture.ts";

const roads = graph({ weights: true, labels: true });

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Lines of 16 bytes that are not all zero, each behind its offset. */
function dump(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16);
    if (line.some((byte) => byte !== 0))
      lines.push(`${at.toString(16).padStart(5, "0")} ${hex(line)}`);
  }
  return lines;
}

async function twoRoads(): Promise<MemoryExtent> {
  const extent = new MemoryExtent();
  const handle = roads.open(extent);
  await handle.addNode("AMS");
  await handle.addNode("BER");
  await handle.addEdge(0, 1, { weight: 2.5, label: 7 });
  await handle.addEdge(1, { actor: "world/asia", node: 9 }, { weight: 8 });
  await handle.rebuild();
  await handle.removeEdge(0, 1, 7);
  return extent;
}

describe("the format of graphs", () => {
  test("is frozen: header, tree with a change, a portal and keys, a block", async () => {
    expect(dump((await twoRoads()).bytes)).toEqual([
      // header: magic, kind 5, version 1; height 1, weights and labels; root 2, 4 pages; 8 entries, 2 nodes, 1 edge, 2 of them in blocks, 1 change, 1 portal, 1 block
      "00000 504e5354050001000103000000000000",
      "00010 02000000040000000000000004000000",
      "00020 08000000000000000200000000000000",
      "00030 01000000000000000200000000000000",
      "00040 01000000000000000100000000000000",
      "00050 01000000000000000000000000000000",
      "01000 0f000000000000000000000000000000",
      // tree: 8 slots, cells from 0xf5f
      "02000 02000000010008005f0f140000000000",
      "02010 00000000730f5f0f8e0fa50ff40fdc0f",
      "02020 e80fd00f000000000000000000000000",
      // change of (0, 1, 7): removed
      "02f50 0000000000000000000000000000000b",
      "02f60 00020000000000000001000705000300",
      // block from (0, 1, 7): page 3, 48 bytes, last source 1
      "02f70 0000000b000100000000000000010007",
      "02f80 0c000300000030000000010000000500",
      // portal 0, its place; one dead change; keys of nodes
      "02f90 03000000000e0009000000776f726c64",
      "02fa0 2f617369610f000400000009776f726c",
      "02fb0 642f617369610400000000000b000200",
      "02fc0 00000000000001000705000100002040",
      "02fd0 05000600000001030042455204000542",
      "02fe0 45520400010000000500060000000003",
      "02ff0 00414d53040005414d53040000000000",
      // block: 2 sources, 2 edges; sources 0, 1; from 0, 1, to 2; targets 1, portal 0; weights 2.5, 8; labels 7, 0
      "03000 02000000020000000000000001000000",
      "03010 00000000010000000200000001000000",
      "03020 00000080000020400000004107000000",
    ]);
  });

  test("of a later version is refused as such", async () => {
    const { bytes } = await twoRoads();
    bytes[6] = 2;
    const later = roads.open(new MemoryExtent({ bytes }));
    await expect(async () => later.counts()).rejects.toMatchObject({ code: "format-too-new" });
    await expect(async () => later.addNode()).rejects.toMatchObject({ code: "format-too-new" });
    bytes[6] = 1;
    await expect(async () =>
      graph().open(new MemoryExtent({ bytes })).counts(),
    ).rejects.toMatchObject({
      code: "config-invalid",
    });
  });
});

async function someBytes(): Promise<Uint8Array> {
  const extent = new MemoryExtent();
  const handle = roads.open(extent);
  for (let i = 0; i < 60; i++) await handle.addNode(`n${i}`);
  for (let i = 0; i < 1_500; i++)
    await handle.addEdge(i % 60, (i * 17) % 59, { weight: i, label: i % 3 });
  for (let i = 0; i < 20; i++) await handle.addEdge(i, { actor: `a/${i % 3}`, node: i });
  await handle.rebuild();
  for (let i = 0; i < 60; i++) {
    await handle.addEdge(i, (i * 5) % 60, { label: 9 });
    await handle.removeEdge(i % 60, (i * 17) % 59, i % 3);
  }
  return extent.bytes;
}

const TYPED = new Set([
  "corruption",
  "format-too-new",
  "config-invalid",
  "not-found",
  "invalid-argument",
]);

/** Does everything that a graph can do. Whatever it holds, that ends, with results or typed errors. */
async function expectTypedErrors(
  bytes: Uint8Array,
  resident: boolean,
  note: string,
): Promise<number> {
  const handle = roads.open(new MemoryExtent({ bytes, resident }));
  let errors = 0;
  const attempt = async (work: () => unknown): Promise<void> => {
    try {
      await work();
    } catch (e) {
      errors++;
      if (!isPinionError(e) || !TYPED.has(e.code)) throw new Error(note, { cause: e });
    }
  };
  for (let node = 0; node < 60; node += 7) {
    await attempt(async () => [...(await handle.readNeighbours(node))].map((edge) => edge.weight));
    await attempt(() => handle.degree(node));
    await attempt(() => handle.hasEdge(node, 3, 1));
    await attempt(() => handle.keyOf(node));
    await attempt(() => handle.nodeOf(`n${node}`));
  }
  await attempt(() => handle.bfs(0, { limit: 1000 }));
  await attempt(() => handle.portal(2));
  await attempt(() => handle.verify());
  for (let node = 0; node < 60; node += 5) {
    await attempt(() => handle.addEdge(node, node + 1, { label: 5 }));
    await attempt(() => handle.removeEdge(node, (node * 17) % 59, node % 3));
  }
  await attempt(() => handle.addNode("new"));
  await attempt(() => handle.rebuild());
  await attempt(() => handle.bfs(1, { limit: 1000 }));
  return errors;
}

describe.each([{ resident: true }, { resident: false }])(
  "damaged graphs, resident: $resident",
  ({ resident }) => {
    test("bytes that were changed anywhere give typed errors or values, and an end", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const sound = await someBytes();
      let found = 0;
      for (let round = 0; round < (resident ? 150 : 40); round++) {
        const bytes = sound.slice();
        for (let i = 1 + rng.below(8); i > 0; i--) {
          const page = rng.below(bytes.length / 4096);
          const at = page * 4096 + rng.below(rng.chance(0.7) ? 128 : 4096);
          bytes[at] = rng.chance(0.3) ? rng.pick([0, 1, 0x7f, 0x80, 0xff]) : rng.below(256);
        }
        found += await expectTypedErrors(bytes, resident, `seed ${seed}, round ${round}`);
      }
      expect(found).toBeGreaterThan(20);
    });
  },
);
