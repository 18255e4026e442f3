import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { isPinionError, type PinionError } from "../errors.ts";
import { seededRng } from "../rng.ts";
import {
  optionsTable,
  resolveOptions,
  variableOf,
  type OptionLayers,
  type OptionSet,
} from "./index.ts";

interface Options {
  readonly port: number;
  readonly segmentBytes: number;
  readonly stopGraceMs: number;
  readonly dataDir: string;
  readonly archiveDir: string | undefined;
  readonly fast: boolean;
  readonly level: "info" | "debug";
}

const SET: OptionSet<Options> = {
  section: "host",
  otherSections: ["cluster"],
  otherVariables: ["PINION_CONFIG_FILE"],
  definitions: {
    port: {
      description: "Port.",
      rule: "a whole number from 0 to 65535",
      schema: z.int().min(0).max(65_535),
      default: 7465,
      text: "number",
    },
    segmentBytes: {
      description: "Segment.",
      rule: "at least 64KiB",
      schema: z.int().min(65_536),
      default: 67_108_864,
      unit: "bytes",
    },
    stopGraceMs: {
      description: "Grace.",
      rule: "at most 1h",
      schema: z.int().min(0).max(3_600_000),
      default: 5_000,
      unit: "ms",
    },
    dataDir: {
      description: "Where.",
      rule: "a path",
      schema: z.string().min(1),
      default: "./.pinion",
    },
    archiveDir: {
      description: "Archive.",
      rule: "a path",
      schema: z.string().min(1),
      default: undefined,
    },
    fast: {
      description: "Fast.",
      rule: "true or false",
      schema: z.boolean(),
      default: false,
      text: "flag",
    },
    level: {
      description: "Level.",
      rule: "one of info, debug",
      schema: z.enum(["info", "debug"]),
      default: "info",
    },
  },
  relations: [
    {
      keys: ["segmentBytes", "stopGraceMs"],
      rule: "segmentBytes > stopGraceMs",
      holds: (o) => o.segmentBytes > o.stopGraceMs,
    },
  ],
};

const file = (text: string): { path: string; text: string } => ({ path: "/etc/pinion.toml", text });

function refused(layers: OptionLayers): PinionError {
  try {
    resolveOptions(SET, layers);
  } catch (e) {
    if (isPinionError(e, "config-invalid")) return e;
    throw e;
  }
  throw new Error("nothing was refused");
}

describe("layers", () => {
  test("give every key, frozen, and say where it came from", () => {
    const { values, sources, notes } = resolveOptions(SET);
    expect(values).toEqual({
      port: 7465,
      segmentBytes: 67_108_864,
      stopGraceMs: 5_000,
      dataDir: "./.pinion",
      archiveDir: undefined,
      fast: false,
      level: "info",
    });
    expect(new Set(Object.values(sources))).toEqual(new Set(["default"]));
    expect(notes).toEqual([]);
    expect(Object.isFrozen(values)).toBe(true);
  });

  test("win in the order argument, environment, file, default", () => {
    const { values, sources } = resolveOptions(SET, {
      argument: { port: 1, fast: undefined },
      env: { PINION_PORT: "2", PINION_STOP_GRACE_MS: "2s", PINION_FAST: "" },
      file: file('[host]\nport = 3\nstopGraceMs = 3\nsegmentBytes = "1MiB"\nfast = true\n'),
    });
    expect([
      values.port,
      values.stopGraceMs,
      values.segmentBytes,
      values.fast,
      values.dataDir,
    ]).toEqual([1, 2_000, 1_048_576, true, "./.pinion"]);
    expect(sources).toMatchObject({
      port: "argument",
      stopGraceMs: "environment",
      segmentBytes: "file",
      fast: "file",
      dataDir: "default",
    });
  });

  test.each<[string, string, unknown]>([
    ["port", "8080", 8080],
    ["segmentBytes", "128KiB", 131_072],
    ["segmentBytes", "131072", 131_072],
    ["stopGraceMs", "1.5s", 1_500],
    ["fast", "Yes", true],
    ["fast", "0", false],
    ["archiveDir", "/backup", "/backup"],
    ["level", "debug", "debug"],
  ])("take text for %s: %j", (key, text, value) => {
    expect(resolveOptions(SET, { env: { [variableOf(key)]: text } }).values).toMatchObject({
      [key]: value,
    });
    expect(resolveOptions(SET, { argument: { [key]: text } }).values).toMatchObject({
      [key]: value,
    });
    expect(
      resolveOptions(SET, { file: file(`[host]\n${key} = ${JSON.stringify(text)}`) }).values,
    ).toMatchObject({ [key]: value });
  });

  test("leave other tables of a file and other people's variables alone", () => {
    const { notes, values } = resolveOptions(SET, {
      env: { PATH: "/bin", PINION_CONFIG_FILE: "x", PINION_UNRELATED_THING: "1" },
      file: file("[cluster]\nname = 1"),
    });
    expect(values.port).toBe(7465);
    expect(notes).toEqual([
      "environment variable PINION_UNRELATED_THING is not known and was ignored",
    ]);
  });

  test("are not confused by the variables an orchestrator sets for a service named pinion", () => {
    const { values, notes } = resolveOptions(SET, {
      env: {
        PINION_SERVICE_HOST: "10.0.0.1",
        PINION_SERVICE_PORT: "7465",
        PINION_SERVICE_PORT_GRPC: "7465",
        PINION_PORT: "tcp://10.0.0.1:9999",
        PINION_PORT_7465_TCP: "tcp://10.0.0.1:7465",
        PINION_PORT_7465_TCP_ADDR: "10.0.0.1",
        PINION_ADMIN_PORT: "tcp://10.0.0.2:9999",
      },
    });
    expect([values.port, notes]).toEqual([7465, []]);
  });
});

describe("a refusal names the key, the value, the place and the rule", () => {
  test.each<[string, OptionLayers, string]>([
    [
      "an argument",
      { argument: { port: 70_000 } },
      "option port is 70000 (given in code or as a flag): it must be a whole number from 0 to 65535",
    ],
    [
      "a variable",
      { env: { PINION_PORT: "many" } },
      'option port is "many" (environment variable PINION_PORT): it must be a whole number from 0 to 65535',
    ],
    [
      "a file",
      { file: file("[host]\nlevel = 3") },
      "option level is 3 ([host] in /etc/pinion.toml): it must be one of info, debug",
    ],
    [
      "a size without sense",
      { env: { PINION_SEGMENT_BYTES: "64 potatoes" } },
      'option segmentBytes is "64 potatoes" (environment variable PINION_SEGMENT_BYTES): it must be at least 64KiB, written like 64MiB',
    ],
    [
      "a fraction of a byte",
      { argument: { segmentBytes: 65_536.5 } },
      "option segmentBytes is 65536.5",
    ],
    [
      "a date in a file",
      { file: file("[host]\ndataDir = 1979-05-27") },
      "option dataDir is a table or date",
    ],
    ["null", { argument: { dataDir: null } }, "option dataDir is null"],
    ["a list", { argument: { dataDir: ["a"] } }, "option dataDir is a list"],
    [
      "a relation",
      { env: { PINION_SEGMENT_BYTES: "64KiB", PINION_STOP_GRACE_MS: "70s" } },
      "segmentBytes is 65536 (environment variable PINION_SEGMENT_BYTES), stopGraceMs is 70000 (environment variable PINION_STOP_GRACE_MS): segmentBytes > stopGraceMs must hold",
    ],
    [
      "a key that does not exist",
      { argument: { prot: 1 } },
      'there is no option "prot"; did you mean port?',
    ],
    [
      "a key in another style",
      { file: file("[host]\ndata_dir = 'x'") },
      '/etc/pinion.toml: there is no option "data_dir" in [host]; did you mean dataDir?',
    ],
    ["a key like nothing", { argument: { zzzzzzzz: 1 } }, 'there is no option "zzzzzzzz"'],
    [
      "a mistyped variable",
      { env: { PINION_DATADIR: "x" } },
      "there is no environment variable PINION_DATADIR; did you mean PINION_DATA_DIR?",
    ],
    [
      "a mistyped table",
      { file: file("[hots]\nport = 1") },
      '/etc/pinion.toml: there is no table "hots"; did you mean host?',
    ],
    [
      "a key outside its table",
      { file: file("port = 1") },
      '/etc/pinion.toml: there is no table "port": write it below a line [host]',
    ],
    ["a table that is none", { file: file("host = 1") }, "/etc/pinion.toml: host must be a table"],
    ["what is not TOML", { file: file("[host]\nport = = 1") }, "/etc/pinion.toml, line 2, column"],
    [
      "a number too large for TOML here",
      { file: file("[host]\nport = 9223372036854775807") },
      "/etc/pinion.toml, line 2",
    ],
    ["a key twice", { file: file("[host]\nport = 1\nport = 2") }, "/etc/pinion.toml, line 3"],
    [
      "a key of the prototype",
      { argument: { constructor: 1 } },
      'there is no option "constructor"',
    ],
    [
      "__proto__ in a file",
      { file: file("[host]\n__proto__ = 1") },
      'there is no option "__proto__"',
    ],
    ["a file that is none", { file: file("a".repeat(2_000_000)) }, "longer than 1 MiB"],
  ])("of %s", (_, layers, message) => {
    expect(refused(layers).message).toContain(message);
  });

  test("also in its details", () => {
    expect(refused({ argument: { port: -1 } }).details).toEqual({
      key: "port",
      value: "-1",
      rule: "a whole number from 0 to 65535",
    });
  });

  test("without repeating a long value at length", () => {
    expect(refused({ argument: { port: "x".repeat(10_000) } }).message.length).toBeLessThan(300);
    expect(refused({ argument: { ["k".repeat(10_000)]: 1 } }).message.length).toBeLessThan(300);
  });
});

test("the variable of a key is its name in capitals", () => {
  expect(["port", "dataDir", "segmentBytesMax"].map(variableOf)).toEqual([
    "PINION_PORT",
    "PINION_DATA_DIR",
    "PINION_SEGMENT_BYTES_MAX",
  ]);
});

test("the reference has a row for each key, with its default in readable units", () => {
  const rows = optionsTable(SET).trim().split("\n");
  expect(rows).toHaveLength(2 + Object.keys(SET.definitions).length);
  expect(rows[3]).toBe(
    "| `segmentBytes` | `PINION_SEGMENT_BYTES` | `64MiB` | at least 64KiB | Segment. |",
  );
  expect(rows[6]).toContain("| none |");
});

describe("whatever the layers hold, the outcome is options or config-invalid", () => {
  const verifyTolerates = (layers: OptionLayers): void => {
    try {
      const { values } = resolveOptions(SET, layers);
      expect(Object.keys(values)).toEqual(Object.keys(SET.definitions));
    } catch (e) {
      if (!isPinionError(e, "config-invalid")) throw e;
    }
  };
  const keys = fc.oneof(
    fc.constantFrom(...Object.keys(SET.definitions), "__proto__", "constructor", "host"),
    fc.string(),
  );

  test("for any arguments and variables", () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          keys,
          fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true }),
        ),
        fc.dictionary(
          keys.map((key) => variableOf(key)),
          fc.string(),
        ),
        (argument, env) => verifyTolerates({ argument, env }),
      ),
      { seed: 1, numRuns: 2_000 },
    );
  });

  test("for a file with any bytes changed", () => {
    const valid = Buffer.from(
      '# Pinion\n[host]\nport = 7_465\nsegmentBytes = "64MiB"\nstopGraceMs = 5_000\ndataDir = \'/var/lib/pinion\'\nfast = true\nlevel = """debug"""\n[cluster]\nname.first = { a = [1, 2.5e3, 1979-05-27T07:32:00Z] }\n',
    );
    verifyTolerates({ file: file(valid.toString()) });
    const rng = seededRng(11);
    for (let i = 0; i < 5_000; i++) {
      const bytes = Buffer.from(valid);
      for (let n = 1 + rng.below(4); n > 0; n--) bytes[rng.below(bytes.length)] = rng.below(256);
      const cut = rng.chance(0.2) ? bytes.subarray(0, rng.below(bytes.length)) : bytes;
      verifyTolerates({ file: file(cut.toString("latin1")) });
      verifyTolerates({ file: file(cut.toString()) });
    }
  });

  test("for a file nested beyond reason", () => {
    for (const text of [
      "[".repeat(100_000),
      `a = ${"[".repeat(100_000)}`,
      `a = ${"{a=".repeat(50_000)}`,
      `${"a.".repeat(100_000)}a = 1`,
    ]) {
      verifyTolerates({ file: file(text) });
    }
  });
});
