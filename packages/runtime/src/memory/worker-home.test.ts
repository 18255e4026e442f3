import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { HostFiles } from "@pinion/storage";
import { describe, expect, it, onTestFinished } from "vitest";
import { takeHome } from "./worker-home.ts";

/** A machine with nodes of one processor each. That threads are bound is seen in test/numa, on a machine that has them. */
function machine(nodes: number): HostFiles {
  const root = mkdtempSync(join(tmpdir(), "pinion-home-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (let node = 0; node < nodes; node++) {
    const folder = `/sys/devices/system/node/node${node}`;
    const files = { cpulist: `${node}\n`, meminfo: `Node ${node} MemTotal: 1000 kB\n` };
    for (const [name, text] of Object.entries(files)) {
      const path = join(root, folder, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    }
  }
  return new HostFiles(root);
}

describe("the home of a worker", () => {
  it("is one node after the other, and its memory is wanted there", () => {
    const files = machine(2);
    const homes = [0, 1, 2].map((worker) => takeHome(worker, "off", files));
    expect(homes.map(({ report }) => report.node)).toEqual([0, 1, 0]);
    expect(homes.map(({ placer }) => placer.home)).toEqual([0, 1, 0]);
    expect(homes[1]?.report).toEqual({
      node: 1,
      nodes: [0, 1],
      boundCpus: [],
      unbound: "numaAffinity is off",
    });
  });

  it("binds no threads of a whole process", () => {
    expect(takeHome(1, "auto", machine(2)).report).toMatchObject({
      boundCpus: [],
      unbound: "it runs in the main thread",
    });
  });

  it("on a machine with one node binds nothing, and nothing is wrong with that", () => {
    expect(takeHome(3, "auto", machine(1)).report).toEqual({
      node: 0,
      nodes: [0],
      boundCpus: [],
      unbound: undefined,
    });
  });
});
