/** A flush that fails ends the worker: nothing is acknowledged that is not on the disk. */
import { join } from "node:path";
import { connect } from "@pinion/client";
import type { HostStatus, ReadyReport } from "@pinion/runtime";
import { startHost } from "@pinion/runtime";
import { nativeDoor } from "@pinion/storage";
import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { ROOT } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Breakable } from "./fixtures/breakable.ts";

const QUIET = { port: 0, adminPort: 0, logLevel: "silent" } as const;

it("with a module, another worker recovers from the log and answers what was under way", async () => {
  await using dir = await temporaryDir();
  const module = join(ROOT, "test/integration/fixtures/breakable.ts");
  await using host = await startHost({ ...QUIET, module, dataDir: dir.path });
  await using client = await connect(host.endpoint);
  const a = client.get(Breakable, "a");
  await a.add(5);
  // It is never committed by this worker, runs again in the next, and takes that one down, too; then time is up.
  await a
    .with({ timeoutMs: 500 })
    .breakDisk()
    .catch(() => {});
  expect(await a.add(1)).toBe(6);
  const status = (await (
    await fetch(`http://${host.adminEndpoint}/api/v1/status`)
  ).json()) as HostStatus;
  expect(status.restarts["log failed"]).toBeGreaterThanOrEqual(1);
});

it("with values, the host goes out of service, says why, and loses nothing", async () => {
  await using dir = await temporaryDir();
  const door = nativeDoor();
  try {
    await using host = await startHost({ ...QUIET, actors: [Breakable], dataDir: dir.path });
    const a = host.client.get(Breakable, "a");
    expect(await a.add(5)).toBe(5);
    const code = a
      .with({ timeoutMs: 2_000 })
      .breakDisk()
      .catch((error: { code: string }) => error.code);
    await expect(host.closed).rejects.toMatchObject({ code: "io-error" });
    const report = await eventually("the failure is told", async () => {
      const answer = await fetch(`http://${host.adminEndpoint}/ready`);
      return answer.status === 503 ? ((await answer.json()) as ReadyReport) : undefined;
    });
    expect(report.problems).toMatchObject([{ code: "failed" }]);
    expect(report.problems[0]?.message).toContain("EIO");
    expect(await code).not.toBeUndefined();
  } finally {
    Reflect.deleteProperty(door, "sealAndWrite"); // uncovers the one of its class
  }
  await using host = await startHost({ ...QUIET, actors: [Breakable], dataDir: dir.path });
  expect(await host.client.get(Breakable, "a").add(1)).toBe(6);
});
