/** Workers that block, throw or run out of memory: named, replaced, and without loss. */
import { connect, type Client } from "@pinion/client";
import { isPinionError } from "@pinion/core";
import type { HostStatus, InspectAnswer } from "@pinion/runtime";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { HostProcess } from "../support/host-process.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Counter } from "./fixtures/counter.ts";

/** Longer than any test waits. */
const FOR_EVER_MS = 600_000;

const counterOf = (client: Client, key: string) => client.get(Counter, key);

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return isPinionError(error) ? error.code : String(error);
  }
  return "answered";
}

async function blockedNamed(host: HostProcess, method: string): Promise<string> {
  return eventually("the blocked turn is named by /ready", async () => {
    const { status, body } = await host.ready();
    const problem = body.problems.find((p) => p.code === "blocked");
    if (problem === undefined) return undefined;
    expect(status).toBe(503);
    expect(problem).toMatchObject({ worker: 0, actor: "counter/stuck", method });
    return problem.call;
  });
}

describe("a host with values", () => {
  it("is not ready while its event loop is blocked, and names actor, method and call", async () => {
    await using dir = await temporaryDir();
    await using host = await HostProcess.start({ actors: "values", dataDir: dir.path });
    await using client = await connect(host.endpoint);
    const blocked = counterOf(client, "stuck").block(6_000);
    const call = await blockedNamed(host, "block");
    expect(call).toMatch(/^[\w-]{22}\/\d+$/);
    // What needs the worker is answered all the same, and says why it cannot be had.
    const types = await host.ask<{ error: { code: string; message: string } }>("/api/v1/types");
    expect(types.status).toBe(503);
    expect(types.body.error.message).toContain("block of counter/stuck");
    expect(await host.metrics()).toContain(`pinion_worker_up{worker="0"} 0`);
    expect(await blocked).toBe(1);
    await eventually("the host is ready again", async () =>
      (await host.ready()).status === 200 ? true : undefined,
    );
  });
});

describe("a host with a module", () => {
  it("replaces a worker that stays blocked, and quarantines the call the second time", async () => {
    await using dir = await temporaryDir();
    const request = { dataDir: dir.path, blockedRestartMs: 4_000 };
    await using host = await HostProcess.start(request);
    await using client = await connect(host.endpoint);
    await counterOf(client, "other").increment(7);
    const blocked = codeOf(counterOf(client, "stuck").block(FOR_EVER_MS));
    await blockedNamed(host, "block");
    // The client sends it again by itself: the second time it is refused, for good.
    expect(await blocked).toBe("poisoned");
    expect(await counterOf(client, "other").value()).toBe(7);
    expect(await counterOf(client, "stuck").value()).toBe(0);

    const { body } = await host.ask<InspectAnswer>("/api/v1/actor?id=counter/stuck");
    expect(body.blockedCalls).toMatchObject([{ method: "block", times: 2, quarantined: true }]);
    const status = await host.ask<HostStatus>("/api/v1/status");
    expect(status.body.restarts).toEqual({ "event loop blocked": 2 });
  });

  it("quarantines a call that only reads, too, and remembers it in its next life", async () => {
    await using dir = await temporaryDir();
    const request = { dataDir: dir.path, blockedRestartMs: 2_500 };
    {
      await using host = await HostProcess.start(request);
      await using client = await connect(host.endpoint);
      expect(await codeOf(counterOf(client, "stuck").blockReading(FOR_EVER_MS))).toBe("poisoned");
      await host.stop();
    }
    await using host = await HostProcess.start(request);
    const { body } = await host.ask<HostStatus>("/api/v1/status");
    expect(body.blockedCalls).toMatchObject([
      { actor: "counter/stuck", method: "blockReading", quarantined: true },
    ]);
  });

  it.each([
    ["throws outside of a turn", "crashWorker", "out of a callback"],
    ["runs out of memory", "exhaust", "ran out of memory"],
  ] as const)(
    "starts a worker that %s again, and clients see no error",
    async (_what, method, log) => {
      await using dir = await temporaryDir();
      const request = { dataDir: dir.path, workerHeapBytes: 64 * 2 ** 20 };
      await using host = await HostProcess.start(request);
      await using client = await connect(host.endpoint);
      const visits = counterOf(client, "visits");
      await visits.increment(5);
      // Its own fate is not of interest: it may be retried for as long as it kills.
      void visits
        .with({ timeoutMs: 1_000 })
        [method]()
        .catch(() => {});
      await host.program.printed(new RegExp(log));
      expect(await visits.increment(1)).toBe(6);
      expect((await host.ask<HostStatus>("/api/v1/status")).body.workers[0]?.condition).toEqual({
        state: "up",
      });
    },
  );
});

it("a method that never returns is given up at its deadline, and named while it hangs", async () => {
  await using dir = await temporaryDir();
  await using host = await HostProcess.start({ dataDir: dir.path });
  await using client = await connect(host.endpoint);
  const stuck = counterOf(client, "stuck");
  expect(await codeOf(stuck.with({ timeoutMs: 300 }).hang())).toBe("deadline-exceeded");
  // The actor goes on.
  expect(await stuck.increment(2)).toBe(2);
  await eventually("the hanging method is named", async () => {
    const { status, body } = await host.ready();
    expect(status).toBe(200);
    const { body: inspection } = await host.ask<InspectAnswer>("/api/v1/actor?id=counter/stuck");
    expect(inspection.actor.turns).toMatchObject([{ method: "hang", abandoned: true }]);
    return body.warnings.find((w) => w.code === "slow-turn" && w.method === "hang");
  });
});
