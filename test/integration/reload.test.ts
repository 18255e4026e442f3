/** A changed module takes over from the old one: state survives, clients see a retry at most, a mistake changes nothing. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@pinion/client";
import { startHost, type Host } from "@pinion/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { temporaryDir, type TemporaryDir } from "../support/temporary-dir.ts";
import { ROOT } from "../support/program.ts";
import { Counter } from "./fixtures/counter.ts";

const RUNTIME = JSON.stringify(join(ROOT, "packages/runtime/src/index.ts"));

const moduleText = (step: number, extra = ""): string => `
import { defineActor, readonly } from ${RUNTIME};
${extra}
export const Counter = defineActor("counter", {
  state: () => ({ n: 0 }),
  methods: {
    increment: (ctx, by: number) => (ctx.state.n += by * ${step}),
    value: readonly((ctx) => ctx.state.n),
    async slow(ctx, ms: number) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return (ctx.state.n += 100);
    },
  },
});
`;

let dir: TemporaryDir;
let module: string;
let host: Host;

beforeEach(async () => {
  dir = await temporaryDir();
  module = join(dir.path, "actors.ts");
  await writeFile(module, moduleText(1));
  const dataDir = join(dir.path, "data");
  host = await startHost({ module, dataDir, port: 0, adminPort: 0, logLevel: "silent" });
});
afterEach(async () => {
  await host.stop();
  await dir[Symbol.asyncDispose]();
});

const post = (path: string): Promise<Response> =>
  fetch(`http://${host.adminEndpoint}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });

describe("a reload", () => {
  it("runs the changed code on the same state and at the same address, without an error to clients", async () => {
    await using client = await connect(host.endpoint);
    const counter = client.get(Counter, "a");
    await counter.increment(1);
    const { endpoint } = host;
    let loading = true;
    let calls = 0;
    const load = (async () => {
      while (loading) {
        await client.get(Counter, "b").increment(1);
        calls++;
      }
    })();
    await writeFile(module, moduleText(10));
    await host.reload();
    loading = false;
    await load;
    expect(host.endpoint).toBe(endpoint);
    expect(await counter.increment(1)).toBe(11);
    expect(calls).toBeGreaterThan(0);
    // Each of them has run once, whichever code it met.
    const value = await client.get(Counter, "b").value();
    expect(value).toBeGreaterThanOrEqual(calls);
    expect((value - calls) % 9).toBe(0);
  });

  it("lets turns under way end first", async () => {
    await using client = await connect(host.endpoint);
    const slow = client.get<{ name: "counter"; methods: SlowMethods }>("counter", "a").slow(300);
    await client.get(Counter, "b").increment(1); // the first has begun by now
    await host.reload();
    expect(await slow).toBe(100);
  });

  it("of a module with a mistake keeps the old one, says so, and takes the corrected one later", async () => {
    await using client = await connect(host.endpoint);
    const counter = client.get(Counter, "a");
    for (const mistake of ["throw new Error('half saved');", "const = ;"]) {
      await writeFile(module, moduleText(10, mistake));
      await expect(host.reload()).rejects.toMatchObject({ code: "module-failed" });
    }
    expect(await counter.increment(1)).toBe(1);
    const answer = await post("/api/v1/reload");
    expect(answer.status).toBe(500);
    expect(await answer.json()).toMatchObject({ error: { code: "module-failed" } });
    const ready = (await (await fetch(`http://${host.adminEndpoint}/ready`)).json()) as {
      ready: boolean;
      warnings: { code: string; message: string }[];
    };
    expect(ready.ready).toBe(true);
    expect(ready.warnings).toMatchObject([{ code: "reload-failed" }]);

    await writeFile(module, moduleText(10));
    expect((await post("/api/v1/reload")).status).toBe(200);
    expect(await counter.increment(1)).toBe(11);
    expect(await readFile(module, "utf8")).toContain("10");
  });

  it("asked for twice at once happens twice, one after the other", async () => {
    await Promise.all([host.reload(), host.reload()]);
    expect(await host.client.get(Counter, "a").increment(1)).toBe(1);
  });

  it("while the host stops does not bring it back", async () => {
    const reloading = host.reload().catch((error: unknown) => error);
    await host.stop();
    await reloading;
    await expect(fetch(`http://${host.adminEndpoint}/health`)).rejects.toThrow(/fetch failed/);
  });
});

type SlowMethods = { slow: (ctx: never, ms: number) => Promise<number> };

it("a host of values has nothing to load anew", async () => {
  await using other = await startHost({
    actors: [Counter],
    dataDir: join(dir.path, "values"),
    port: 0,
    adminPort: 0,
    logLevel: "silent",
  });
  await expect(other.reload()).rejects.toMatchObject({ code: "config-invalid" });
});
