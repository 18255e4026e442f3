/** The LMDB directory holds nothing that cannot be had otherwise: it is deleted after the log was cut, and every acknowledged call is there. */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { connect, type Client } from "@pinion/client";
import { expect, it } from "vitest";
import { HostProcess } from "../support/host-process.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Counter } from "./fixtures/counter.ts";

const ACTORS = 50;
const CALLS_AT_ONCE = 20;
const SMALL = {
  segmentBytes: 256 * 1024,
  stagingBytes: 256 * 1024,
  checkpointLogBytes: 1024 * 1024,
  checkpointDirtyMs: 100,
};

const isOldest = (name: string): boolean => name === "0000000000000001.log";

it.each(["stop", "kill"] as const)(
  "after a %s a host without the index of its log finds every acknowledged write",
  async (end) => {
    await using dir = await temporaryDir();
    const worker = join(dir.path, "worker-0");
    const acknowledged = new Map<string, number>();
    const increment = async (client: Client, i: number): Promise<void> => {
      const key = `c${i % ACTORS}`;
      acknowledged.set(key, await client.get(Counter, key).increment(1));
    };
    {
      await using host = await HostProcess.start({ dataDir: dir.path, ...SMALL });
      await using client = await connect(host.endpoint);
      // Until the log was cut: what is older is in the segments of the shards alone.
      for (let i = 0; (await readdir(join(worker, "log"))).some(isOldest); i += CALLS_AT_ONCE) {
        await Promise.all(
          Array.from({ length: CALLS_AT_ONCE }, (_, n) => increment(client, i + n)),
        );
      }
      for (let i = 0; i < ACTORS; i++) await increment(client, i);
      await host[end]();
    }
    for (const name of ["log-index.mdb", "log-index.mdb-lock"])
      await rm(join(worker, name), { force: true });
    for (let life = 0; life < 2; life++) {
      await using host = await HostProcess.start({ dataDir: dir.path, ...SMALL });
      await using client = await connect(host.endpoint);
      for (const [key, value] of acknowledged)
        expect(await client.get(Counter, key).value(), key).toBe(value);
      await host.stop();
    }
  },
);
