/** What a host promises about kills, restarts and stops. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@pinion/client";
import { readHostInfo, startHost } from "@pinion/runtime";
import { describe, expect, it } from "vitest";
import { HostProcess } from "../support/host-process.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Counter } from "./fixtures/counter.ts";

const QUIET = { actors: [Counter], port: 0, adminPort: 0, logLevel: "silent" } as const;

const HOSTS = [{ actors: "values" as const }, {}];

describe.each(HOSTS)("a host with %o", (mode) => {
  it("has every acknowledged call after SIGKILL, and clients go on by themselves", async () => {
    await using dir = await temporaryDir();
    let acknowledged = 0;
    let host = await HostProcess.start({ ...mode, dataDir: dir.path });
    const { endpoint } = host;
    const port = Number(endpoint.slice(endpoint.lastIndexOf(":") + 1));
    await using client = await connect(endpoint);
    const visits = client.get(Counter, "visits");
    const load = (async () => {
      for (let i = 0; i < 300; i++) {
        await visits.increment(1);
        acknowledged++;
      }
    })();
    try {
      for (let kills = 1; kills <= 3; kills++) {
        while (acknowledged < kills * 60) await visits.value();
        await host.kill();
        const before = acknowledged;
        host = await HostProcess.start({ ...mode, dataDir: dir.path, port });
        const { incarnation } = await host.serving();
        expect(incarnation).toBe(kills + 1);
        // Not less than what was acknowledged, and not more than the one that was on its way.
        expect(await visits.value()).toBeGreaterThanOrEqual(before);
      }
      await load;
      expect(await visits.value()).toBe(300);
    } finally {
      await host[Symbol.asyncDispose]();
    }
  });

  it("replays nothing after a stop in order, and leaves neither host.json nor the lock", async () => {
    await using dir = await temporaryDir();
    {
      await using host = await HostProcess.start({ ...mode, dataDir: dir.path });
      await using client = await connect(host.endpoint);
      for (let i = 0; i < 20; i++) await client.get(Counter, `c${i}`).increment(i);
      await host.stop();
      expect(host.program.child.exitCode).toBe(0);
    }
    expect(await readHostInfo(dir.path)).toBeUndefined();
    await using host = await HostProcess.start({ ...mode, dataDir: dir.path });
    expect(host.program.stderr).toContain("recoveredRecords=0");
    await using client = await connect(host.endpoint);
    expect(await client.get(Counter, "c7").value()).toBe(7);
  });

  it("is recognised as gone by its host.json after a kill", async () => {
    await using dir = await temporaryDir();
    await using host = await HostProcess.start({ ...mode, dataDir: dir.path });
    const found = await readHostInfo(dir.path);
    expect(found).toMatchObject({ running: true, info: { endpoints: [host.endpoint] } });
    await host.kill();
    expect(await readHostInfo(dir.path)).toMatchObject({ running: false });
    const info = JSON.parse(await readFile(join(dir.path, "host.json"), "utf8")) as { pid: number };
    expect(info.pid).toBe(host.program.child.pid);
  });
});

it("an embedded host serves its own client and others, and frees everything when it is disposed of", async () => {
  await using dir = await temporaryDir();
  let endpoint: string;
  {
    await using host = await startHost({
      actors: [Counter],
      dataDir: dir.path,
      port: 0,
      adminPort: 0,
      logLevel: "silent",
    });
    ({ endpoint } = host);
    expect(await host.client.get(Counter, "visits").increment(3)).toBe(3);
    await using client = await connect(endpoint);
    expect(await client.get<typeof Counter>("counter", "visits").increment(4)).toBe(7);
  }
  await expect(connect(endpoint, { connectTimeoutMs: 200 })).rejects.toMatchObject({
    code: "unavailable",
  });
  await using again = await startHost({ ...QUIET, dataDir: dir.path });
  expect(await again.client.get(Counter, "visits").value()).toBe(7);
  expect(again.incarnation).toBe(2);
});
