import { isPinionError, optionsTable, seededRng, type OptionDefinition } from "@pinion/core";
import { resolveAdaptiveOptions } from "@pinion/storage";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Dispatcher } from "../gateway/dispatcher.ts";
import { resolveGatewayOptions } from "../gateway/gateway-options.ts";
import { WORKER_DEFAULTS } from "../worker/worker-options.ts";
import { HOST_OPTIONS, resolveHostOptions, type HostOptions } from "./host-options.ts";
import { loadHostOptions } from "./load-host-options.ts";
import { settingsOf } from "./settings-of-options.ts";

const definitions = Object.entries(HOST_OPTIONS.definitions) as [
  keyof HostOptions,
  OptionDefinition<unknown>,
][];
const root = join(import.meta.dirname, "../../../..");

describe("host options", () => {
  test("have defaults that satisfy every rule", () => {
    const { values } = resolveHostOptions();
    expect(values).toMatchObject({
      dataDir: "./.pinion",
      listenHost: "127.0.0.1",
      port: 7465,
      adminPort: 7466,
      shardCount: 16,
      maxTurnMs: 30_000,
    });
    for (const [key, { schema, default: value }] of definitions) {
      if (value !== undefined)
        expect(schema["~standard"].validate(value), key).not.toHaveProperty(
          "issues",
          expect.anything(),
        );
    }
  });

  test("give a worker by default what it takes by default", () => {
    expect(settingsOf(resolveHostOptions().values).worker).toEqual(WORKER_DEFAULTS);
  });

  test("end in their unit when they have one", () => {
    const suffix = { bytes: /Bytes(?:Max|Min)?$/, ms: /Ms(?:Max|Min)?$/ };
    for (const [key, { unit }] of definitions) {
      if (unit === undefined) expect(key).not.toMatch(/Bytes|Ms$/);
      else expect(key).toMatch(suffix[unit]);
    }
  });

  test.each<[Record<string, unknown>, RegExp]>([
    [{ port: 65_536 }, /port is 65536.*from 0 to 65535/],
    [{ listenHost: "not a host" }, /an IP address or a host name/],
    [{ listenHost: "0.0.0.0" }, /listenHost is "0.0.0.0".*insecurePlaintext is false.*loopback/],
    [{ adminHost: "10.1.2.3" }, /adminHost.*loopback/],
    [{ adminPort: 7465 }, /port is 7465.*adminPort is 7465.*must hold/],
    [{ flushPolicy: "whenever" }, /flushPolicy is "whenever".*one of group, sync, batched/],
    [
      { segmentBytes: "64MiB1" },
      /segmentBytes.*a multiple of 4KiB from 64KiB to 1GiB, written like 64MiB/,
    ],
    [{ segmentBytes: 65_537 }, /a multiple of 4KiB/],
    [{ segmentBytes: "64KiB" }, /stagingBytes is 8388608.*stagingBytes ≤ segmentBytes must hold/],
    [{ checkpointLogBytes: "1MiB" }, /checkpointLogBytes ≥ segmentBytes/],
    [{ sessionBytesMax: "1GiB" }, /sessionBytesMax ≤ shardSessionBytesMax/],
    [{ pinShare: 0.9 }, /pinShare is 0.9.*a number from 0 to 0.8/],
    [{ pinShare: "half" }, /pinShare/],
    [{ pinBytesMax: "2TiB" }, /pinBytesMax.*from 0B to 1TiB/],
    [{ poolBytesMax: "1KiB" }, /poolBytesMax.*from 1MiB to 1TiB/],
    [{ adaptivePromoteHeat: 0.4 }, /adaptivePromoteHeat is 0.4.*a number from 0.5 to 1/],
    [{ adaptivePromoteHeat: 0.95 }, /adaptivePromoteHeat ≤ adaptiveCriticalHeat must hold/],
    [{ maxTurnMs: "0s" }, /maxTurnMs.*from 10ms to 1d/],
    [{ logLevel: "loud" }, /one of debug, info, warn, error, silent/],
    [{ dataDir: "a\0b" }, /dataDir.*a path/],
    [{ dataDir: "" }, /dataDir.*a path/],
    [{ insecurePlaintext: "perhaps" }, /true or false/],
    [{ dataDirs: "x" }, /there is no option "dataDirs"; did you mean dataDir/],
  ])("refuse %j and say why", (argument, message) => {
    expect(() => resolveHostOptions({ argument })).toThrow(message);
  });

  test.each([
    { listenHost: "::1" },
    { listenHost: "localhost" },
    { listenHost: "0.0.0.0", adminHost: "node-1.example.org", insecurePlaintext: true },
    { port: 0, adminPort: 0 },
    { flushPolicy: "batchedOrPeriodic(1000, 5ms)" },
    { pinShare: "0.25", pinBytesMax: "3GiB" },
    { idleDeactivationMs: "2h", workerHeapBytes: "4GiB" },
  ])("take %j", (argument) => {
    expect(() => resolveHostOptions({ argument })).not.toThrow();
  });

  test("take nothing that the gateway would refuse", () => {
    const rng = seededRng(5);
    for (let i = 0; i < 300; i++) {
      const argument = {
        port: rng.below(65_536),
        inFlightCallsMax: 1 + rng.below(2 ** 25),
        frameBytesMax: rng.below(2 ** 31),
      };
      let values: HostOptions;
      try {
        ({ values } = resolveHostOptions({ argument }));
      } catch {
        continue;
      }
      const { gateway } = settingsOf(values);
      const identity = (): never => {
        throw new Error("not asked");
      };
      expect(() =>
        resolveGatewayOptions({ ...gateway, dispatcher: {} as Dispatcher, identity }),
      ).not.toThrow();
    }
  });
});

test("options of pool and pins reach what decides about them, which takes whatever they allow", () => {
  const settings = (argument: Record<string, unknown>) =>
    settingsOf(resolveHostOptions({ argument }).values);
  expect(settings({ poolBytesMax: "32MiB" }).memory.poolBytesMax).toBe(2 ** 25);
  const adaptive = (argument: Record<string, unknown>) =>
    resolveAdaptiveOptions(settings(argument).adaptive);
  expect(adaptive({})).toEqual(resolveAdaptiveOptions());
  const changed = {
    adaptivePromoteHeat: 0.5,
    adaptiveCriticalHeat: 0.5,
    adaptiveBudgetPressure: 0,
    adaptiveFaultsPerSecond: 0,
    adaptiveNumaMiss: 1,
    adaptiveLearningMs: "0s",
    adaptiveRebalanceMs: "1d",
    numaMigration: "disabled",
  };
  expect(adaptive(changed)).toEqual({
    ...resolveAdaptiveOptions(),
    promoteHeat: 0.5,
    criticalHeat: 0.5,
    budgetPressure: 0,
    faultsPerSecond: 0,
    numaMiss: 1,
    learningMs: 0,
    rebalanceMs: 86_400_000,
    migration: "disabled",
  });
});

describe("the reference", () => {
  const squeezed = (text: string): string => text.replaceAll(/-{2,}/g, "-").replaceAll(/ +/g, " ");

  test("in docs/configuration.md is what the options are", async () => {
    const page = await readFile(join(root, "docs/configuration.md"), "utf8");
    // To renew it: node --conditions=source scripts/write-configuration.mjs
    expect(squeezed(page)).toContain(squeezed(optionsTable(HOST_OPTIONS)).trim());
  });

  test("in the interface's comments is the same, word for word", async () => {
    const source = await readFile(join(import.meta.dirname, "host-options.ts"), "utf8");
    for (const [key, { description }] of definitions) {
      const comment = new RegExp(`/\\*\\*\\s+((?:(?!\\*/)[^])*?)\\s*\\*/\\s+readonly ${key}:`).exec(
        source,
      )?.[1];
      expect(comment?.replaceAll(/\s*\n\s*\*\s*/g, " "), key).toBe(description);
    }
  });
});

describe("loading", async () => {
  const dir = await mkdtemp(join(tmpdir(), "pinion-options-"));
  afterAll(() => rm(dir, { recursive: true }));
  let next = 0;

  async function folder(
    files: Readonly<Record<string, string | Uint8Array>> = {},
  ): Promise<string> {
    const cwd = join(dir, String(next++));
    await mkdir(cwd);
    for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text);
    return cwd;
  }

  test("works without any file, and makes directories absolute", async () => {
    const cwd = await folder();
    const { values } = await loadHostOptions({ cwd, env: {}, argument: { archiveDir: "archive" } });
    expect([values.dataDir, values.archiveDir]).toEqual([
      join(cwd, ".pinion"),
      join(cwd, "archive"),
    ]);
    expect(Object.isFrozen(values)).toBe(true);
  });

  test("reads pinion.toml in the working directory", async () => {
    const cwd = await folder({ "pinion.toml": "[host]\nport = 1234\n" });
    const { values, sources } = await loadHostOptions({ cwd, env: {} });
    expect([values.port, sources.port, sources.dataDir]).toEqual([1234, "file", "default"]);
  });

  test("prefers the file it is told, by argument before variable", async () => {
    const cwd = await folder({
      "pinion.toml": "[host]\nport = 1",
      "a.toml": "[host]\nport = 2",
      "b.toml": "[host]\nport = 3",
    });
    const env = { PINION_CONFIG_FILE: "a.toml" };
    expect((await loadHostOptions({ cwd, env })).values.port).toBe(2);
    expect((await loadHostOptions({ cwd, env, configFile: join(cwd, "b.toml") })).values.port).toBe(
      3,
    );
  });

  test.each<[string, Readonly<Record<string, string | Uint8Array>>, string, RegExp]>([
    ["that is not there", {}, "missing.toml", /missing.toml cannot be read: there is no such file/],
    ["that is a directory", {}, ".", /cannot be read/],
    ["that is not text", { "x.toml": Uint8Array.of(0xff, 0xfe, 0x00) }, "x.toml", /cannot be read/],
    ["that is huge", { "x.toml": new Uint8Array(2_000_000) }, "x.toml", /longer than 1 MiB/],
  ])("refuses a file %s", async (_, files, configFile, message) => {
    const cwd = await folder(files);
    const failure: unknown = await loadHostOptions({ cwd, env: {}, configFile }).catch(
      (e: unknown) => e,
    );
    expect(isPinionError(failure, "config-invalid")).toBe(true);
    expect((failure as Error).message).toMatch(message);
  });

  test("tolerates a byte order mark", async () => {
    const cwd = await folder({ "pinion.toml": "\ufeff[host]\nport = 5\n" });
    expect((await loadHostOptions({ cwd, env: {} })).values.port).toBe(5);
  });
});
