import { describe, expect, it } from "vitest";
import { hostTree } from "./host-tree.test.fixture.ts";
import { localShare, numaPolicyFor, shouldMigrate } from "./numa-policy.ts";
import {
  freeBytesOf,
  nodesByDistance,
  parseCpuList,
  readNumaTopology,
  workerHome,
} from "./numa-topology.ts";
import { pageSizeFor, readPageFacts } from "./page-size.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const NODE = "/sys/devices/system/node";

function node(id: number, cpulist: string, distance: string, totalKib: number) {
  return {
    [`${NODE}/node${id}/cpulist`]: `${cpulist}\n`,
    [`${NODE}/node${id}/distance`]: `${distance}\n`,
    [`${NODE}/node${id}/meminfo`]: `Node ${id} MemTotal:   ${totalKib} kB\nNode ${id} MemFree:  ${totalKib / 2} kB\n`,
  };
}

/** Two sockets and a node of memory alone, with a gap in the numbers. */
const THREE = {
  ...node(0, "0-3,8-11", "10 21 40", 1_000_000),
  ...node(1, "4-7,12-15", "21 10 35", 2_000_000),
  ...node(4, "", "40 35 10", 4_000_000),
  [`${NODE}/online`]: "0-1,4\n",
};

describe("the topology", () => {
  it("has nodes, processors, memory and distances as sysfs says", () => {
    const topology = readNumaTopology(hostTree(THREE));
    expect(topology.degraded).toBeUndefined();
    expect(topology.nodes).toMatchObject([
      {
        id: 0,
        cpus: [0, 1, 2, 3, 8, 9, 10, 11],
        memTotalBytes: 1_000_000 * 1024,
      },
      { id: 1, cpus: [4, 5, 6, 7, 12, 13, 14, 15] },
      { id: 4, cpus: [] },
    ]);
    expect(topology.nodes[1]!.distances.get(4)).toBe(35);
    expect(nodesByDistance(topology, 4)).toEqual([4, 1, 0]);
  });

  it("counts as free what the system only keeps for files", () => {
    const meminfo =
      "Node 1 MemFree: 10 kB\nNode 1 Active(file): 20 kB\nNode 1 Inactive(file): 30 kB\n";
    const files = hostTree({ [`${NODE}/node1/meminfo`]: meminfo });
    expect(freeBytesOf(files, 1)).toBe(60 * 1024);
    expect(freeBytesOf(files, 0)).toBeUndefined();
  });

  it("is what this process may use of it", () => {
    const status = "Name:\tnode\nCpus_allowed_list:\t2-5\nMems_allowed_list:\t1,4\n";
    const topology = readNumaTopology(hostTree({ ...THREE, "/proc/self/status": status }));
    expect(topology.nodes.map(({ id, cpus, memTotalBytes }) => [id, cpus, memTotalBytes])).toEqual([
      [0, [2, 3], 0],
      [1, [4, 5], 2_000_000 * 1024],
      [4, [], 4_000_000 * 1024],
    ]);
    expect(workerHome(topology, 0)).toEqual({ numaNode: 1, cpus: [] });
    expect(nodesByDistance(topology, 1)).toEqual([1, 4]);
  });

  it("is one node with all processors where sysfs says nothing", () => {
    const topology = readNumaTopology(
      hostTree({
        "/sys/devices/system/cpu/online": "0-1\n",
        "/proc/meminfo": "MemTotal: 1000 kB\nMemFree: 10 kB\n",
      }),
    );
    expect(topology.degraded).toContain("no nodes");
    expect(topology.nodes).toMatchObject([{ id: 0, cpus: [0, 1], memTotalBytes: 1_024_000 }]);
    expect(readNumaTopology(hostTree({})).nodes).toHaveLength(1);
    const empty = readNumaTopology(hostTree({ [`${NODE}/node0/cpulist`]: "0\n" }));
    expect(empty).toMatchObject({
      nodes: [{ id: 0 }],
      degraded: `${NODE} has no node with memory`,
    });
  });

  it("assumes the usual distances where sysfs states nonsense", () => {
    const nonsense = { ...node(0, "0", "10", 1000), ...node(1, "1", "21 zwei", 1000) };
    const { nodes } = readNumaTopology(hostTree(nonsense));
    expect(nodes.map(({ distances }) => [...distances.values()])).toEqual([
      [10, 20],
      [20, 10],
    ]);
  });

  it("of this machine has at least one node with memory", () => {
    expect(readNumaTopology().nodes[0]!.memTotalBytes).toBeGreaterThan(0);
  });

  it.each([
    ["0-3,8,10-11", [0, 1, 2, 3, 8, 10, 11]],
    ["\n", []],
    ["3,1,1-2", [1, 2, 3]],
    ["x,5-,7-6,-1,9", [9]],
    ["0-99999999999", Array.from({ length: 8193 }, (_, i) => i)],
  ])("reads the list %j", (text, cpus) => {
    expect(parseCpuList(text)).toEqual(cpus);
  });

  it("spreads workers over nodes that have processors, and binds nobody on a single node", () => {
    const topology = readNumaTopology(hostTree(THREE));
    expect([0, 1, 2].map((worker) => workerHome(topology, worker).numaNode)).toEqual([0, 1, 0]);
    expect(workerHome(topology, 1).cpus).toEqual([4, 5, 6, 7, 12, 13, 14, 15]);
    const single = readNumaTopology(hostTree(node(0, "0-1", "10", 1000)));
    expect(workerHome(single, 5)).toEqual({ numaNode: 0, cpus: [] });
  });
});

describe("the policy", () => {
  const topology = readNumaTopologyOnce();

  function readNumaTopologyOnce() {
    const nodes = [
      {
        id: 0,
        distances: new Map([
          [0, 10],
          [1, 21],
        ]),
      },
      {
        id: 1,
        distances: new Map([
          [0, 21],
          [1, 10],
        ]),
      },
    ].map((each) => ({ ...each, cpus: [each.id], memTotalBytes: GIB }));
    return { nodes, degraded: undefined };
  }

  it("binds hot tables, interleaves what is cold, prefers home for what all share", () => {
    expect(numaPolicyFor("hot-table", topology, 1)).toEqual({ kind: "bind", nodes: [1] });
    expect(numaPolicyFor("cold", topology, 1)).toEqual({ kind: "interleave", nodes: [0, 1] });
    expect(numaPolicyFor("shared-metadata", topology, 1)).toEqual({
      kind: "preferred",
      nodes: [1],
    });
    expect(numaPolicyFor("other", topology, 1)).toEqual({ kind: "local" });
    const single = { nodes: topology.nodes.slice(0, 1), degraded: undefined };
    expect(numaPolicyFor("hot-table", single, 0)).toEqual({ kind: "local" });
  });

  it("moves what is mostly elsewhere, when it may and nothing uses it", () => {
    const bytes = new Map([
      [0, 3 * 4096],
      [1, 2 * 4096],
    ]);
    expect([0, 1, 2].map((home) => localShare(bytes, home))).toEqual([0.6, 0.4, 0]);
    expect(localShare(new Map(), 0)).toBeUndefined();
    const question = { localShare: 0.6, accessed: false, references: 0, missShareMax: 0.3 };
    expect(shouldMigrate("proactive", question)).toBe(true);
    expect(shouldMigrate("disabled", question)).toBe(false);
    expect(shouldMigrate("on-access", question)).toBe(false);
    expect(shouldMigrate("on-access", { ...question, accessed: true })).toBe(true);
    expect(shouldMigrate("proactive", { ...question, references: 1 })).toBe(false);
    expect(shouldMigrate("proactive", { ...question, missShareMax: 0.5 })).toBe(false);
    expect(shouldMigrate("proactive", { ...question, localShare: undefined })).toBe(false);
  });
});

describe("the page size", () => {
  const facts = (transparent: string, reserved: Record<string, number> = {}) =>
    readPageFacts(
      hostTree({
        "/sys/kernel/mm/transparent_hugepage/enabled": `${transparent}\n`,
        ...Object.fromEntries(
          Object.entries(reserved).map(([kib, free]) => [
            `/sys/kernel/mm/hugepages/hugepages-${kib}kB/free_hugepages`,
            `${free}\n`,
          ]),
        ),
      }),
    );

  it("is 1 GiB for large scans where enough are reserved, and 2 MiB otherwise", () => {
    const reserved = facts("always [madvise] never", { 1048576: 3, 2048: 10 });
    expect(pageSizeFor("scan", 3 * GIB, reserved)).toMatchObject({
      pageBytes: GIB,
      reserved: true,
    });
    expect(pageSizeFor("scan", 4 * GIB, reserved)).toEqual({
      pageBytes: 2 * MIB,
      reserved: false,
      shortfall: "3 of 4 pages of 1 GiB are reserved and free",
    });
    expect(pageSizeFor("scan", 1.5 * GIB, reserved)).toMatchObject({ pageBytes: 2 * MIB });
    expect(pageSizeFor("tree", 3 * GIB, reserved)).toMatchObject({
      pageBytes: 2 * MIB,
      shortfall: undefined,
    });
  });

  it("is 4 KiB for what is small, and where the machine has nothing else", () => {
    const none = facts("always madvise [never]", { 2048: 10 });
    expect(pageSizeFor("tree", 2 * MIB - 1, none)).toMatchObject({
      pageBytes: 4096,
      shortfall: undefined,
    });
    expect(pageSizeFor("metadata", GIB, none)).toMatchObject({ pageBytes: 4096 });
    expect(pageSizeFor("tree", 20 * MIB, none)).toMatchObject({
      pageBytes: 2 * MIB,
      reserved: true,
    });
    expect(pageSizeFor("tree", 22 * MIB, none)).toMatchObject({ pageBytes: 4096 });
    expect(pageSizeFor("tree", 22 * MIB, none).shortfall).toContain("off");
  });

  it("assumes nothing where sysfs is absent or strange", () => {
    expect(readPageFacts(hostTree({}))).toEqual({ freeReserved: new Map(), transparent: "never" });
    expect(facts("sometimes", { 2048: 0 })).toEqual({
      freeReserved: new Map(),
      transparent: "never",
    });
  });
});
