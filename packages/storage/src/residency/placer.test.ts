import { describe, expect, it } from "vitest";
import { ONE_NODE, Placer, type PlacingRequest } from "./placer.ts";
import { MIB, TestFiles, twoNodes } from "./residency.test.fixture.ts";

const GIB = 1024 * MIB;
const HOT: PlacingRequest = {
  dataKind: "hot-table",
  pageUse: "tree",
  byteCount: 4 * MIB,
  numaPrefer: undefined,
  hugePages: undefined,
};

describe("the placer", () => {
  it("puts each kind of data where its rule says, around the worker's node", () => {
    const placer = new Placer({ files: twoNodes(), home: 1 });
    expect(placer.place(HOT)).toMatchObject({
      numa: { kind: "bind", nodes: [1] },
      wantedNode: 1,
      hugePages: true,
    });
    expect(placer.place({ ...HOT, dataKind: "cold" })).toMatchObject({
      numa: { kind: "interleave", nodes: [0, 1] },
      wantedNode: undefined,
    });
    expect(placer.place({ ...HOT, dataKind: "shared-metadata" })).toMatchObject({
      numa: { kind: "preferred", nodes: [1] },
      wantedNode: 1,
    });
    expect(placer.place({ ...HOT, numaPrefer: 0 }).numa).toEqual({ kind: "bind", nodes: [0] });
  });

  it("wants memory nowhere but where it asks for it: a node that is not there would be moved to for ever", () => {
    const placer = new Placer({ files: twoNodes(), home: 0 });
    for (const dataKind of ["hot-table", "shared-metadata"] as const) {
      const { numa, wantedNode } = placer.place({ ...HOT, dataKind, numaPrefer: 7 });
      expect(numa).toMatchObject({ nodes: [wantedNode] });
    }
  });

  it("asks for nothing on a machine with one node, and reads nothing", () => {
    const files = new TestFiles({});
    const placer = new Placer({ files, topology: ONE_NODE });
    files.text = () => {
      throw new Error("read");
    };
    for (const dataKind of ["hot-table", "cold", "shared-metadata"] as const)
      expect(placer.place({ ...HOT, dataKind })).toMatchObject({
        numa: { kind: "local" },
        wantedNode: 0,
        numaShortfall: undefined,
      });
  });

  it("binds to a node only what it has room for, with what is on its way in and something to spare", () => {
    const files = twoNodes();
    const placer = new Placer({ files, home: 0 });
    const large = { ...HOT, byteCount: 3 * GIB };
    // 8 GiB are free, a sixteenth of 16 GiB stays so.
    const first = placer.place(large);
    const second = placer.place(large);
    expect([first.numa.kind, second.numa.kind]).toEqual(["bind", "bind"]);
    const third = placer.place(large);
    expect(third).toMatchObject({
      numa: { kind: "preferred", nodes: [0] },
      wantedNode: 0,
      numaShortfall: "its node was full",
    });
    third.settle();
    expect(first.hasRoom(GIB)).toBe(true);
    expect(first.hasRoom(GIB + 1)).toBe(false);
    // Once it is there the node says so itself.
    files.setFree(0, 5 * GIB);
    first.settle();
    first.settle();
    expect(first.hasRoom(GIB)).toBe(true);
    expect(first.hasRoom(GIB + 1)).toBe(false);
    // Who is preferred may grow: memory comes from elsewhere then.
    expect(third.hasRoom(100 * GIB)).toBe(true);
  });

  it("takes pages of 1 GiB for scans as long as they are free, and asks each time", () => {
    const free = "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages";
    const files = twoNodes(undefined, { [free]: "2\n" });
    const placer = new Placer({ files, home: 0 });
    const scan = { ...HOT, pageUse: "scan", byteCount: 2 * GIB } as const;
    expect(placer.place(scan)).toMatchObject({ reservedPageBytes: GIB, hugePages: false });
    files.contents.set(free, "1\n");
    expect(placer.place(scan)).toMatchObject({
      reservedPageBytes: undefined,
      hugePages: true,
      pageShortfall: "1 of 2 pages of 1 GiB are reserved and free",
    });
    expect(placer.place({ ...scan, hugePages: false })).toMatchObject({
      reservedPageBytes: undefined,
      hugePages: false,
    });
  });
});
