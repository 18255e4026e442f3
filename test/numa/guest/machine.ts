/** The machine itself, and memory as the native door places it: run in the main thread, which is bound to nothing. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { NumaPolicy, Region } from "@pinion/storage";
import type * as Arenas from "../../../packages/storage/src/extent/arena.ts";
import type * as Open from "../../../packages/storage/src/memory/open-memory-door.ts";
import type * as Topology from "../../../packages/storage/src/residency/numa-topology.ts";
import type * as Placers from "../../../packages/storage/src/residency/placer.ts";
import { byNodeText, check, MIB } from "./checks.ts";

// File by file: all of the package would take the guest as long to load as the checks take.
const inside = (name: string): string =>
  new URL(`../../../packages/storage/src/${name}.ts`, import.meta.url).href;
const { Arena } = (await import(inside("extent/arena"))) as typeof Arenas;
const { memoryDoor } = (await import(inside("memory/open-memory-door"))) as typeof Open;
const { readNumaTopology } = (await import(inside("residency/numa-topology"))) as typeof Topology;
const { Placer } = (await import(inside("residency/placer"))) as typeof Placers;

const BYTES = 16 * MIB;
const GIB = 1024 * MIB;
const FREE_GIGANTIC = "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages";

export async function checkMachine(): Promise<void> {
  await check("the topology is what sysfs says", () => {
    const { nodes, degraded } = readNumaTopology();
    equal(degraded, undefined);
    deepEqual(
      nodes.map(({ id, cpus }) => ({ id, cpus })),
      [
        { id: 0, cpus: [0] },
        { id: 1, cpus: [1] },
      ],
    );
    deepEqual(
      nodes.map(({ distances }) => [...distances.values()]),
      [
        [10, 21],
        [21, 10],
      ],
    );
    for (const { memTotalBytes } of nodes) ok(memTotalBytes > 512 * MIB);
  });
  await check("the native part is in use", () => equal(memoryDoor().degraded, undefined));

  for (const hugePages of [false, true]) {
    const pages = hugePages ? "huge" : "small";
    for (const node of [0, 1]) {
      await checkPlaced({ kind: "bind", nodes: [node] }, hugePages, `bind ${node}, ${pages}`, [
        node,
      ]);
      const preferred = { kind: "preferred", nodes: [node] } as const;
      await checkPlaced(preferred, hugePages, `preferred ${node}, ${pages}`, [node]);
    }
    const interleave = { kind: "interleave", nodes: [0, 1] } as const;
    await checkPlaced(interleave, hugePages, `interleave, ${pages}`, [0, 1]);
    await checkMoved(hugePages, pages);
  }

  await check("a policy that cannot be says so, and the memory is there all the same", async () => {
    const region = memoryDoor().reserve(BYTES, { numa: { kind: "bind", nodes: [5] } });
    equal(region.policyDenied, "EINVAL");
    await region.populate(0, BYTES);
    equal(region.residentBytes(0, BYTES), BYTES);
    region.release();
  });

  await check("a range can have a policy of its own", async () => {
    const region = memoryDoor().reserve(BYTES, { numa: { kind: "bind", nodes: [0] } });
    await region.populate(0, BYTES / 2);
    await region.populate(BYTES / 2, BYTES / 2, { numa: { kind: "preferred", nodes: [1] } });
    deepEqual(await placed(region), { 0: BYTES / 2, 1: BYTES / 2 });
    region.release();
  });

  await check("nothing is bound to a node that has no room for it", () => {
    const { nodes } = readNumaTopology();
    const placer = new Placer({ home: 0 });
    const of = (byteCount: number) =>
      placer.place({
        dataKind: "hot-table",
        pageUse: "tree",
        byteCount,
        numaPrefer: undefined,
        hugePages: undefined,
      });
    const small = of(BYTES);
    deepEqual(small.numa, { kind: "bind", nodes: [0] });
    small.settle();
    const large = of(nodes[0]!.memTotalBytes);
    deepEqual(large.numa, { kind: "preferred", nodes: [0] });
    equal(large.numaShortfall, "its node was full");
  });

  await check(
    "a page of 1 GiB that the machine has reserved is used for a scan, and given back",
    async () => {
      const placer = new Placer({ home: 1 });
      const request = {
        dataKind: "hot-table",
        pageUse: "scan",
        byteCount: GIB,
        numaPrefer: undefined,
        hugePages: undefined,
      } as const;
      const { reservedPageBytes } = placer.place(request);
      equal(reservedPageBytes, GIB);
      const arena = new Arena(memoryDoor());
      const block = arena.allocate(GIB, { reservedPageBytes });
      ok(block !== undefined);
      await block.commit(GIB, { hugePages: false });
      const found = await block.measure();
      equal(found?.hugeBytes, GIB);
      deepEqual(Object.fromEntries(found.bytesByNode ?? []), { 1: GIB });
      equal(readFileSync(FREE_GIGANTIC, "latin1").trim(), "0");
      const second = placer.place(request);
      equal(second.reservedPageBytes, undefined);
      match(second.pageShortfall ?? "", /0 of 1 pages of 1 GiB/);
      equal(arena.allocate(GIB, { reservedPageBytes }), undefined);
      block.release();
      await until(() => readFileSync(FREE_GIGANTIC, "latin1").trim() === "1");
      arena.close();
    },
  );
}

async function checkPlaced(
  numa: NumaPolicy,
  hugePages: boolean,
  name: string,
  nodes: readonly number[],
): Promise<void> {
  await check(`memory is where the policy says: ${name}`, async () => {
    const region = memoryDoor().reserve(BYTES, { numa });
    equal(region.policyDenied, undefined);
    await region.populate(0, BYTES, { hugePages });
    const expected = Object.fromEntries(nodes.map((node) => [node, BYTES / nodes.length]));
    deepEqual(await placed(region), expected);
    equal((await region.measure(0, BYTES))?.hugeBytes, hugePages ? BYTES : 0);
    region.release();
  });
}

async function checkMoved(hugePages: boolean, pages: string): Promise<void> {
  await check(`memory moves with its content, lock and pages: ${pages}`, async () => {
    const region = memoryDoor().reserve(BYTES, { numa: { kind: "bind", nodes: [0] } });
    await region.populate(0, BYTES, { hugePages });
    const bytes = new Uint8Array(region.view(0, BYTES)).fill(9);
    await region.lock(0, BYTES);
    const { lockedBytes } = memoryDoor().facts();
    const startMs = performance.now();
    equal(await region.moveTo(0, BYTES, 1), BYTES);
    const movedMs = Math.round(performance.now() - startMs);
    const found = await region.measure(0, BYTES);
    deepEqual(Object.fromEntries(found?.bytesByNode ?? []), { 1: BYTES });
    equal(found?.hugeBytes, hugePages ? BYTES : 0);
    equal(memoryDoor().facts().lockedBytes, lockedBytes);
    ok(Buffer.from(bytes.buffer).equals(Buffer.alloc(BYTES, 9)));
    console.log(
      `16 MiB of ${pages} pages moved in ${movedMs} ms: ${byNodeText(found?.bytesByNode)}`,
    );
    region.release();
  });
}

async function placed(region: Region): Promise<Record<number, number>> {
  return Object.fromEntries((await region.measure(0, BYTES))?.bytesByNode ?? []);
}

/** A thread gives memory back: it says nothing when it has. */
async function until(holds: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 20_000; !holds();) {
    ok(performance.now() < endMs, "it does not come about");
    await new Promise((resolve) => setImmediate(resolve));
  }
}
