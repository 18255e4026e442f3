/** Memory outside the heap and the ends of threads and processes, limits, and child processes. */
import { execFile, spawnSync } from "node:child_process";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { constants, PerformanceObserver } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { DOORS, hasAddon, memoryHarness } from "./fixtures/memory-harness.ts";
import { CHUNK_BYTES, memoryDoor } from "./fixtures/memory-helpers.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const FLAGS = ["--conditions=source", "--expose-gc"];

/** What a fixture prints; anything but a clean end throws. */
const run = async (...args: string[]): Promise<string> => {
  const [script = "", ...rest] = args;
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...FLAGS,
    fixture(script),
    ...rest,
  ]);
  return stdout.trim();
};

/** As root, without CAP_IPC_LOCK; as anybody else it is not there anyway. */
const limited = (limitBytes: number, script: string[]): ReturnType<typeof spawnSync> => {
  const drop = process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-ipc_lock"] : [];
  return spawnSync(
    "prlimit",
    [`--memlock=${limitBytes}:${limitBytes}`, ...drop, process.execPath, ...script],
    { encoding: "utf8" },
  );
};
const canLimit = hasAddon && limited(0, ["-e", ""]).status === 0;
if (!canLimit) console.log("skipped: the right to lock cannot be taken away here");

describe.each(DOORS)("memory door: %s", (kind, make) => {
  const h = memoryHarness(make);
  const file = (): void => {
    writeFileSync(join(h.dir, "file"), "");
    truncateSync(join(h.dir, "file"), 16 * CHUNK_BYTES);
  };

  it("survives threads that end in any way with views alive and operations under way", async () => {
    file();
    expect(await run("memory-threads.ts", h.dir, kind)).toBe(
      `${kind === "portable" ? 4 : 12} threads ended true`,
    );
  });

  it("lets a process end when nothing is under way, and not before", async () => {
    file();
    expect(await run("memory-exit.ts", h.dir, kind)).toBe("21 views, 0 short");
  });

  it.each([
    ["exit", 3],
    ["throw", 1],
  ])("lets a process end by %s in the middle of everything", async (ending, code) => {
    file();
    await expect(run("memory-exit.ts", h.dir, kind, ending)).rejects.toMatchObject({
      code,
      signal: null,
    });
  });
});

describe.skipIf(!hasAddon)("memory of the addon", () => {
  const h = memoryHarness(memoryDoor);

  it("counts as nothing for the garbage collector, however often it is shown", async () => {
    let collections = 0;
    const observer = new PerformanceObserver((list) => {
      for (const { detail } of list.getEntries() as { detail?: { kind?: number } }[])
        if (detail?.kind !== constants.NODE_PERFORMANCE_GC_MINOR) collections++;
    });
    observer.observe({ entryTypes: ["gc"] });
    const region = h.reserve(2_048);
    const live = Array.from({ length: 4_000 }, (_, i) => region.view(i * 2 ** 20, 2 ** 20));
    // They are reported by immediates that start others.
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    observer.disconnect();
    // Counted, they would have started more than 100.
    expect(collections).toBeLessThan(40);
    for (const buffer of live) region.detach(buffer);
    // Nor does it ever count as less than nothing, where V8 ends the process.
    for (let i = 0; i < 100; i++) {
      const buffer = region.view(0, 128 << 20);
      if (i % 10 === 0) expect(buffer.transfer().byteLength).toBe(128 << 20);
      region.detach(buffer);
    }
  });

  it("is a fatal signal's business again outside of a guarded copy", async () => {
    await expect(run("memory-bus-error.ts", h.dir)).rejects.toMatchObject({
      signal: "SIGBUS",
      stdout: "addon false\n",
    });
  });

  it("is not copied when the process starts another", async () => {
    const region = h.reserve(32);
    await region.populate(0, region.byteCount);
    await region.lock(0, region.byteCount);
    const bytes = new Uint8Array(region.view(0, region.byteCount));
    expect(spawnSync("true").status).toBe(0);
    const before = h.door.facts().minorFaults!;
    bytes.fill(1);
    // Copied on write, each of the 16,384 pages would fault once more.
    expect(h.door.facts().minorFaults! - before).toBeLessThan(8_000);
  });

  describe.skipIf(!canLimit)("without the right to lock", () => {
    it.each([
      ["privilege", 0, ["privilege", 0, "privilege", 0, "privilege", 0, "privilege", 0]],
      // Refused in the middle: what was locked of the range is let go again.
      ["limit", 8 << 20, ["locked", "locked", "locked", "limit", 0]],
    ])("says '%s' at a limit of %s bytes, and works", (_, limitBytes, answers) => {
      const { stdout, stderr } = limited(limitBytes, [...FLAGS, fixture("memory-limits.ts")]);
      expect(stderr).toBe("");
      expect(JSON.parse(String(stdout))).toEqual({
        kind: "addon",
        lockableBytes: String(limitBytes),
        answers,
        intact: true,
      });
    });
  });
});
