import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { HostFiles } from "@pinion/storage";
import { afterEach, describe, expect, it } from "vitest";
import { memoryShortage, warnOfShortage } from "../host/degradations.ts";
import { hostMemory } from "./host-memory.ts";

const MIB = 2 ** 20;
const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

/** A machine of 16 GiB with these files. */
function machine(files: Record<string, string>): HostFiles {
  const root = mkdtempSync(join(tmpdir(), "pinion-memory-"));
  roots.push(root);
  const all = { "proc/meminfo": `MemTotal: ${16 * 1024 * 1024} kB\n`, ...files };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return new HostFiles(root);
}

const v2 = (mib: number): HostFiles =>
  machine({
    "proc/self/cgroup": "0::/pinion\n",
    "sys/fs/cgroup/pinion/memory.max": `${mib * MIB}\n`,
  });
const v1 = (mib: number): HostFiles =>
  machine({
    "proc/self/cgroup": "4:memory:/pinion\n",
    "sys/fs/cgroup/memory/pinion/memory.limit_in_bytes": `${mib * MIB}\n`,
  });

const memoryOf = (files: HostFiles, workers = 1): ReturnType<typeof hostMemory> =>
  hostMemory(
    { pinShare: 0.4, pinBytesMax: undefined, poolBytesMax: 512 * 2 ** 20 },
    workers,
    2 ** 31,
    files,
  );

describe("a host whose memory limit is too small", () => {
  it.each([
    ["version 2", v2, "/sys/fs/cgroup/pinion/memory.max"],
    ["version 1", v1, "/sys/fs/cgroup/memory/pinion/memory.limit_in_bytes"],
  ] as const)("says so in its log, with the figures, of control groups of %s", (_, of, file) => {
    const warnings: unknown[][] = [];
    const logger = { warn: (...words: unknown[]) => void warnings.push(words) };
    warnOfShortage(logger, memoryOf(of(640)));
    expect(warnings).toEqual([]);
    warnOfShortage(logger, memoryOf(of(384)));
    expect(warnings).toEqual([
      [
        expect.stringMatching(`${file} allows 384 MiB.* 640 MiB under load.*docker run --memory`),
        undefined,
        { limitBytes: 384 * MIB, limitedBy: file, neededBytes: 640 * MIB },
      ],
    ]);
  });

  it("needs more with more workers, and none of that on a machine with enough", () => {
    expect(memoryShortage(memoryOf(v2(700), 2))?.why).toContain("768 MiB");
    expect(memoryShortage(memoryOf(machine({}), 16))).toBeUndefined();
    const small = machine({ "proc/meminfo": `MemTotal: ${512 * 1024} kB\n` });
    expect(memoryShortage(memoryOf(small))?.why).toContain("Use a machine with more memory");
  });
});

it("gives a worker's pool no more than it may have", () => {
  const of = (poolBytesMax: number) =>
    hostMemory({ pinShare: 0.4, pinBytesMax: undefined, poolBytesMax }, 1, 2 ** 31, v2(16_384));
  expect(of(32 * MIB).poolBytes).toBe(32 * MIB);
  expect(of(2 ** 40).poolBytes).toBeGreaterThan(512 * MIB);
});
