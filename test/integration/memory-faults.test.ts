/**
 * Hosts in processes whose memory is limited by the kernel: what cannot be locked is served all the same, and no limit ends in SIGKILL.
 *
 * F1 without CAP_IPC_LOCK, under RLIMIT_MEMLOCK of 0 and of 8 MiB, and with the limit lowered while an actor comes into memory.
 * F2 in a memory control group of version 1, with state that is larger than the group's limit. `HOARD_TIMES=10` makes it ten times as large.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "@pinion/client";
import type { PinsAnswer } from "@pinion/runtime";
import { memoryDoor } from "@pinion/storage";
import { describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { HostProcess } from "../support/host-process.ts";
import { ROOT } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Hoard } from "./fixtures/hoard.ts";

const MIB = 2 ** 20;
const MODULE = join(ROOT, "test/integration/fixtures/hoard.ts");
const VALUES = 250_000;
const isRoot = process.getuid?.() === 0;
const hasAddon = memoryDoor().kind === "addon";

const drop = isRoot ? ["setpriv", "--bounding-set=-ipc_lock"] : [];
const withMemlock = (bytes: number): string[] => [
  "prlimit",
  `--memlock=${bytes}:${bytes}`,
  ...drop,
];
const works = ([command = "", ...words]: readonly string[]): boolean =>
  spawnSync(command, [...words, "true"]).status === 0;
const canLimit = hasAddon && works(withMemlock(0));
if (!canLimit) console.log("skipped: the right to lock cannot be taken away here");

const GROUPS = "/sys/fs/cgroup/memory";
const group = `${GROUPS}/pinion-test-${process.pid}`;
const canGroup = hasAddon && isRoot && canMakeGroup();
if (!canGroup) console.log("skipped: memory control groups of version 1 cannot be made here");

function canMakeGroup(): boolean {
  try {
    mkdirSync(`${group}-probe`);
    rmdirSync(`${group}-probe`);
    return true;
  } catch {
    return false;
  }
}

/** Sum of √0 … √(count − 1), added up as a column does it: near enough. */
function sumOfRoots(count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.sqrt(i);
  return sum;
}

async function pinsOf(host: HostProcess): Promise<PinsAnswer> {
  return (await host.ask<PinsAnswer>("/api/v1/pins")).body;
}

const start = (dataDir: string, under: readonly string[], options = {}): HostProcess =>
  new HostProcess({ dataDir, module: MODULE, logLevel: "warn", ...options }, { under });

describe.skipIf(!canLimit)("a host that may not lock memory", () => {
  test.each([0, 4 * MIB])(
    "serves extents at a limit of %i bytes, and says what is not locked",
    async (bytes) => {
      await using dir = await temporaryDir();
      await using host = start(dir.path, withMemlock(bytes));
      const { pid } = await host.serving();
      await using client = await connect(host.endpoint);
      const hoard = client.get(Hoard, "a");
      for (let i = 1; i <= 8; i++) expect(await hoard.add(VALUES)).toBe(i * VALUES);
      const locked = /^VmLck:\s+(\d+) kB$/m;
      const lockedKib = Number(locked.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
      expect(lockedKib * 1024).toBeLessThanOrEqual(bytes);
      const sum = await hoard.sum();
      expect(sum / sumOfRoots(8 * VALUES)).toBeCloseTo(1, 9);
      const { workers } = await pinsOf(host);
      const pins = workers.flatMap((worker) => worker.pins);
      // It came into memory small, and grew out of the limit.
      expect(pins).toHaveLength(1);
      expect(pins[0]).toMatchObject({
        locked: false,
        notLocked: bytes === 0 ? "privilege" : "limit",
      });
      expect(host.program.stderr).not.toMatch(/SIG|fatal/i);
    },
    60_000,
  );

  test("goes on when the limit is lowered while an actor comes into memory", async () => {
    await using dir = await temporaryDir();
    await using host = start(dir.path, withMemlock(8 * MIB));
    const { pid } = await host.serving();
    await using client = await connect(host.endpoint);
    const hoard = client.get(Hoard, "a");
    const count = 3 * VALUES;
    for (let i = 1; i <= 3; i++) await hoard.add(VALUES);
    const lockedOf = async (): Promise<boolean | undefined> =>
      (await pinsOf(host)).workers.flatMap(({ pins }) => pins)[0]?.locked;
    await eventually("it is locked", async () => ((await lockedOf()) === true ? true : undefined));
    for (let round = 0; round < 4; round++) {
      await hoard.rest();
      const limit = (bytes: number): void => {
        expect(spawnSync("prlimit", ["--pid", String(pid), `--memlock=${bytes}:`]).status).toBe(0);
      };
      const reading = hoard.sum();
      if (round % 2 === 0) limit(64 * 1024);
      expect((await reading) / sumOfRoots(count + round)).toBeCloseTo(1, 9);
      // A turn that writes, too.
      expect(await hoard.add(1)).toBe(count + round + 1);
      if (round % 2 === 0) limit(8 * MIB);
    }
    // What was degraded is locked again once it may be.
    await hoard.rest();
    await hoard.count();
    await eventually("it is locked again", async () =>
      (await lockedOf()) === true ? true : undefined,
    );
    const { status } = await host.ready();
    expect(status).toBe(200);
  }, 60_000);
});

describe.skipIf(!canGroup)("a host in a memory control group", () => {
  const LIMIT_BYTES = 640 * MIB;
  const times = Number(process.env["HOARD_TIMES"] ?? "1.05");

  test(`is not killed with state of ${times} times its limit`, async () => {
    mkdirSync(group);
    try {
      writeFileSync(`${group}/memory.limit_in_bytes`, String(LIMIT_BYTES));
      await using dir = await temporaryDir();
      const under = ["sh", "-c", `echo $$ > ${group}/cgroup.procs && exec "$@"`, "sh"];
      await using host = start(dir.path, under, { checkpointDirtyBytes: "16MiB" });
      await host.serving();
      await using client = await connect(host.endpoint);
      const actors = 8;
      const perActor = Math.ceil((LIMIT_BYTES * times) / 8 / actors / VALUES);
      for (let i = 1; i <= perActor; i++) {
        const added = Array.from({ length: actors }, (_, a) =>
          client.get(Hoard, `a${a}`).add(VALUES),
        );
        expect(await Promise.all(added)).toEqual(Array.from({ length: actors }, () => i * VALUES));
      }
      const expected = sumOfRoots(perActor * VALUES);
      for (let a = 0; a < actors; a++)
        expect((await client.get(Hoard, `a${a}`).sum()) / expected).toBeCloseTo(1, 9);
      const used = Number(readFileSync(`${group}/memory.max_usage_in_bytes`, "utf8"));
      expect(used).toBeLessThanOrEqual(LIMIT_BYTES);
      expect(readFileSync(`${group}/memory.oom_control`, "utf8")).toMatch(/^oom_kill 0$/m);
      const { memory } = await pinsOf(host);
      expect(memory.pinBytes).toBeLessThan(LIMIT_BYTES);
      await host.stop();
      expect(host.program.child.signalCode).toBeNull();
    } finally {
      rmdirSync(group);
    }
  }, 1_800_000);
});
