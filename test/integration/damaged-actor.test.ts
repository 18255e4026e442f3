/** A page of one actor is damaged on disk while the log has changes of it: the host says so, and all others go on. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@pinion/client";
import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { HostProcess } from "../support/host-process.ts";
import { ROOT, runCommand } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Hoard } from "./fixtures/hoard.ts";

const MODULE = join(ROOT, "test/integration/fixtures/hoard.ts");
const COUNT = 3_000;
const KEYS = ["a", "b", "c"];

/** Flips a bit of the first page with the last value of a hoard that has `COUNT` of them. */
async function damage(dataDir: string): Promise<void> {
  const folder = join(dataDir, "worker-0", "segments");
  const value = Buffer.from(Float64Array.of(Math.sqrt(COUNT - 2), Math.sqrt(COUNT - 1)).buffer);
  for (const name of await readdir(folder, { recursive: true })) {
    if (!name.endsWith(".seg")) continue;
    const bytes = await readFile(join(folder, name));
    const at = bytes.indexOf(value);
    if (at < 0) continue;
    bytes[at] = (bytes[at] as number) ^ 1;
    return writeFile(join(folder, name), bytes);
  }
  throw new Error("there is no such page");
}

it("is told of by /ready, metrics and the command line, over several kills", async () => {
  await using dir = await temporaryDir();
  const start = (checkpointDirtyMs: number): Promise<HostProcess> =>
    HostProcess.start({ dataDir: dir.path, module: MODULE, checkpointDirtyMs });
  for (const end of ["stop", "kill"] as const) {
    await using host = await start(60_000);
    await using client = await connect(host.endpoint);
    for (const key of KEYS) await client.get(Hoard, key).add(end === "stop" ? COUNT : 10);
    await host[end]();
  }
  await damage(dir.path);
  let bad = "";
  for (let life = 0; life < 3; life++) {
    await using host = await start(100);
    await using client = await connect(host.endpoint);
    const { message } = await eventually("the damage is told", async () => {
      const { status, body } = await host.ready();
      expect(status).toBe(200);
      return body.warnings.find(({ code }) => code === "checkpoint");
    });
    const named = /what the log has of hoard\/(.) cannot be checkpointed/.exec(message)?.[1];
    bad ||= named as string;
    expect(named).toBe(bad);
    expect(await host.metrics()).toMatch(/^pinion_checkpoint_failing\{?.*\}? 1$/m);
    const { stdout } = await runCommand(["status", "--data-dir", dir.path]);
    expect(stdout).toContain(`hoard/${bad}`);
    for (const key of KEYS) {
      const count = client.get(Hoard, key).add(1);
      if (key === bad) await expect(count).rejects.toMatchObject({ code: "corruption" });
      else expect(await count).toBe(COUNT + 11 + life);
    }
    await host[life === 1 ? "stop" : "kill"]();
  }
  // The page will not come back: the actor is given up.
  await using host = await HostProcess.start({
    dataDir: dir.path,
    module: MODULE,
    checkpointDirtyMs: 100,
    discardActors: `hoard/${bad}`,
  });
  await using client = await connect(host.endpoint);
  for (const key of KEYS)
    expect(await client.get(Hoard, key).add(1)).toBe(key === bad ? 1 : COUNT + 14);
  await eventually("checkpoints are whole", async () => {
    const { warnings } = (await host.ready()).body;
    expect(warnings.filter(({ code }) => code === "checkpoint")).toEqual([]);
    expect(await host.metrics()).toMatch(/^pinion_checkpoint_failing\{?.*\}? 0$/m);
    return true;
  });
});
