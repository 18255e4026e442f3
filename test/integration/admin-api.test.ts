/** The admin port, asked as people, probes and web pages would ask it. */
import { request } from "node:http";
import {
  defineActor,
  startHost,
  type ActorsPage,
  type HealthAnswer,
  type Host,
  type HostStatus,
  type InspectAnswer,
  type ReadyReport,
} from "@pinion/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryDir, type TemporaryDir } from "../support/temporary-dir.ts";
import { Counter } from "./fixtures/counter.ts";

const Note = defineActor("note", {
  state: () => ({ text: "", tags: new Map<string, Date>(), raw: new Uint8Array([1, 2, 3]) }),
  methods: {
    write(ctx, text: string) {
      ctx.state.text = text;
      ctx.state.tags.set("first", new Date(0));
      ctx.reminders.set("later", { everyMs: 3_600_000 }, "write", "again");
    },
  },
});

const QUIET = { port: 0, adminPort: 0, logLevel: "silent" } as const;

let dir: TemporaryDir;
let host: Host;

const url = (path: string): string => `http://${host.adminEndpoint}${path}`;
const get = async <T>(path: string): Promise<T> => (await (await fetch(url(path))).json()) as T;

beforeAll(async () => {
  dir = await temporaryDir();
  host = await startHost({
    actors: [Counter, Note],
    dataDir: dir.path,
    ...QUIET,
  });
});
afterAll(async () => {
  await host.stop();
  await dir[Symbol.asyncDispose]();
});

describe("listing actors", () => {
  const KEYS = Array.from({ length: 250 }, (_, i) => `k${String(i).padStart(3, "0")}`);

  beforeAll(async () => {
    await Promise.all(KEYS.map((key) => host.client.get(Counter, key).increment(1)));
    await host.client.namespace("other").get(Counter, "elsewhere").increment(1);
    await host.client.get(Note, "ü/ß €").write("x");
  });

  async function pages(query: string): Promise<string[]> {
    const ids: string[] = [];
    let after = "";
    for (let n = 0; n < 300; n++) {
      const page = await get<ActorsPage>(`/api/v1/actors?${query}&after=${after}`);
      ids.push(...page.actors.map((actor) => actor.id));
      if (page.next === null) return ids;
      after = encodeURIComponent(page.next);
    }
    throw new Error("the listing does not end");
  }

  it.each([1, 7, 100, 1000])(
    "shows each once, in order, in pages of %i",
    async (limit) => {
      const ids = await pages(`type=counter&limit=${limit}`);
      expect(ids).toEqual(KEYS.map((key) => `counter/${key}`));
    },
    60_000,
  );

  it("goes by type, prefix and namespace, and over all of them", async () => {
    expect(await pages("type=counter&prefix=k01")).toHaveLength(10);
    expect(await pages("type=counter&namespace=other")).toEqual(["other:counter/elsewhere"]);
    expect(await pages("type=note")).toEqual(["note/ü/ß%20€"]);
    expect(await pages("type=nothing")).toEqual([]);
    expect(await pages("limit=50")).toHaveLength(KEYS.length + 2);
  });

  it.each(["limit=0", "limit=1001", "limit=x", "prefix=k", "type=bad%20type"])(
    "refuses %s",
    async (query) => {
      const answer = await fetch(url(`/api/v1/actors?${query}`));
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ error: { retry: "never" } });
    },
  );
});

describe("inspecting an actor", () => {
  it("shows state, reminders and where it stands", async () => {
    await host.client.get(Note, "n").write("hello");
    const { actor } = await get<InspectAnswer>("/api/v1/actor?id=note/n");
    expect(actor).toMatchObject({
      id: "note/n",
      activation: "active",
      stateVersion: 1,
      definedStateVersion: 1,
      mailboxLength: 0,
      turns: [],
      reminders: [{ name: "later", method: "write" }],
      lsn: expect.any(Number) as number,
    });
    expect(JSON.parse(actor.stateJson ?? "")).toEqual({
      text: "hello",
      tags: { first: "1970-01-01T00:00:00.000Z" },
      raw: "AQID",
    });
    expect(actor.committedLsn).toBeGreaterThanOrEqual(actor.lsn);
  });

  it("says that there is none, and makes none by asking", async () => {
    for (let i = 0; i < 2; i++) {
      const { actor } = await get<InspectAnswer>("/api/v1/actor?id=note/nobody");
      expect(actor).toMatchObject({ activation: "unknown", stateJson: null });
    }
  });

  it.each([
    ["", 400, "invalid-argument"],
    ["?id=nokey", 400, "invalid-actor-id"],
    ["?id=nope/x", 404, "unknown-actor-type"],
  ])("refuses %j", async (query, status, code) => {
    const answer = await fetch(url(`/api/v1/actor${query}`));
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ error: { code } });
  });
});

describe("health, readiness and status", () => {
  it("are there, and agree", async () => {
    const health = await get<HealthAnswer>("/health");
    expect(health).toMatchObject({ status: "ok", pid: process.pid });
    expect(health.eventLoopLag.p99Ms).toBeGreaterThanOrEqual(0);
    const ready = await get<ReadyReport>("/ready");
    expect(ready).toMatchObject({ ready: true, problems: [] });
    expect(ready.workers[0]?.probeAgeMs).toBeLessThan(2_500);
    const status = await get<HostStatus>("/api/v1/status");
    expect(status.host).toMatchObject({
      hostId: host.hostId,
      endpoints: host.endpoints,
      adminEndpoint: host.adminEndpoint,
      actors: "values",
    });
    expect(status.workers[0]?.status).toMatchObject({ state: "serving", failure: null });
  });

  it("asked by many at once probe the log once, not once each", async () => {
    const records = async (): Promise<number> => {
      const page = await (await fetch(url("/metrics"))).text();
      return Number(/^pinion_probe_seconds_count\S* (\d+)$/m.exec(page)?.[1]);
    };
    const before = await records();
    await Promise.all(Array.from({ length: 50 }, () => fetch(url("/ready"))));
    expect((await records()) - before).toBeLessThanOrEqual(2);
  });
});

describe("what does not belong here", () => {
  const send = (init: RequestInit & { path?: string }): Promise<Response> =>
    fetch(url(init.path ?? "/api/v1/stop"), { method: "POST", ...init });
  const JSON_TYPE = { "content-type": "application/json" };

  it.each([
    ["another route", { method: "GET", path: "/admin" }, 404],
    ["another method", { method: "DELETE", path: "/api/v1/actors" }, 404],
    ["a form", { body: "a=b", headers: { "content-type": "text/plain" } }, 400],
    ["no JSON", { body: "{", headers: JSON_TYPE }, 400],
    ["a list", { body: "[]", headers: JSON_TYPE }, 400],
    ["a bad value", { body: `{"graceMs":-1}`, headers: JSON_TYPE }, 400],
    ["a body without end", { body: "x".repeat(70_000), headers: JSON_TYPE }, 413],
    ["a reload of values", { path: "/api/v1/reload", body: "{}", headers: JSON_TYPE }, 409],
  ])("%s is refused, and the host goes on", async (_what, init, status) => {
    const answer = await send(init);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toHaveProperty("error.code");
    expect((await get<ReadyReport>("/ready")).ready).toBe(true);
  });

  it("a request of a web page is refused", async () => {
    // fetch does not let one set the header; a browser does.
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const { hostname, port } = new URL(url("/"));
      const headers = { ...JSON_TYPE, origin: "http://evil.example" };
      const asked = request(
        { hostname, port, path: "/api/v1/stop", method: "POST", headers },
        (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        },
      );
      asked.on("error", reject);
      asked.end("{}");
    });
    expect(status).toBe(403);
    expect((await get<ReadyReport>("/ready")).ready).toBe(true);
  });
});

it("actors that are only on the disk, or only in the log, are listed and inspected, too", async () => {
  await using own = await temporaryDir();
  const options = { ...QUIET, actors: [Counter], dataDir: own.path };
  {
    await using other = await startHost(options);
    for (let i = 0; i < 30; i++) await other.client.get(Counter, `k${i + 10}`).increment(i + 1);
  }
  await using other = await startHost(options);
  await other.client.get(Counter, "k99").increment(99);
  const ask = async <T>(path: string): Promise<T> =>
    (await (await fetch(`http://${other.adminEndpoint}${path}`)).json()) as T;
  const { actors } = await ask<ActorsPage>("/api/v1/actors?type=counter");
  expect(actors).toHaveLength(31);
  for (const actor of actors.slice(0, 30)) {
    expect(actor.state).toBe("stored");
    expect(actor.storedBytes).toBeGreaterThan(0);
  }
  expect(actors[30]).toMatchObject({ id: "counter/k99", state: "active", storedBytes: null });
  const { actor } = await ask<InspectAnswer>("/api/v1/actor?id=counter/k15");
  expect(actor).toMatchObject({ activation: "stored", stateJson: `{"n":6}`, idleMs: null });
});

it("a host that is told to stop answers first, and then is gone", async () => {
  await using own = await temporaryDir();
  const other = await startHost({
    actors: [Counter],
    dataDir: own.path,
    ...QUIET,
  });
  const answer = await fetch(`http://${other.adminEndpoint}/api/v1/stop`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: `{"graceMs":100}`,
  });
  expect(answer.status).toBe(202);
  await other.closed;
  await expect(fetch(`http://${other.adminEndpoint}/health`)).rejects.toThrow(/fetch failed/);
});
