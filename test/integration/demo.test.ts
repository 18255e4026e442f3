// What `npm start` runs, shortened: a stream of flights through a host that is killed, and a check that can fail.
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Program, runProgram, type ProgramOptions } from "../support/program.ts";

let dataDir: string;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "pinion-demo-test-"));
});
afterAll(() => rm(dataDir, { recursive: true }));

const demo = (args: string[] = [], options: ProgramOptions = {}) =>
  runProgram(
    "examples/flights/src/main.ts",
    ["--seconds", "3", "--data-dir", dataDir, "--state", "0", ...args],
    options,
  );

// The second run starts from what the first one left, as a second `npm start` does.
test.each(["first", "second"])(
  "the %s run loses nothing to kill -9 and counts nothing twice",
  async () => {
    const { code, stdout, stderr } = await demo();
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/kill -9 host \d+, [1-9]\d* calls under way/);
    expect(stdout).toMatch(/has read [1-9][\d,]* records of its log and serves again/);
    expect(stdout).toMatch(/[1-9][\d,]* calls were sent again with the same id/);
    expect(stdout).toMatch(
      /all 220 airports and 2,977 routes agree.*none lost, none counted twice/,
    );
    expect(stdout).toMatch(/JFK John F Kennedy Intl/);
    expect(stdout.match(/npm run pinion -- /g)?.length).toBeGreaterThanOrEqual(3);
    // Where nobody watches there are lines, not a line that is redrawn.
    // eslint-disable-next-line no-control-regex
    expect(stdout).not.toMatch(/[\r\u001b]/);
  },
);

test("one actor holds more than the heap: filled, scanned, let go, brought back", async () => {
  const { code, stdout, stderr } = await demo(["--seconds", "1", "--state", "32MiB"]);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toMatch(/One actor with 32 MiB of state.*heap is limited to 256 MiB/);
  expect(stdout).toMatch(/filled +by 3 calls of 14 MiB, each on disk before its answer/);
  expect(stdout).toMatch(/scanned +5,700,000 rows at \d+\.\d GB\/s/);
  expect(stdout).toMatch(/deactivated RAM of the host \d+ MiB → \d+ MiB/);
  // What it got depends on the machine; that it is in memory does not.
  expect(stdout).toMatch(
    /reactivated in .*: 4\d MiB (?:pinned and locked before its turn|in memory)/,
  );
  const faults = /waited for a disk: (\d+) before, (\d+) after/.exec(stdout);
  expect(faults?.[1], stdout).toBe(faults?.[2]);
  // Nothing of it stays.
  expect(
    (await readdir(dirname(dataDir))).filter((name) =>
      name.startsWith(`${basename(dataDir)}-large`),
    ),
  ).toEqual([]);
});

test.each([
  ["loss", /airport\/ATL: [\d,]+ flights, expected/],
  ["double", /route\/ATL-RDU: [\d,]+ flights, expected/],
])(
  "a single record that is %s is found, named, and ends in exit code 1",
  async (fault, message) => {
    const { code, stderr } = await demo(["--fault", fault]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/2 of 3,197 actors disagree/);
    expect(stderr).toMatch(message);
  },
);

test("another host on the same ports and directory is left alone, and said so", async () => {
  const env = {
    PINION_PORT: String(await freePort()),
    PINION_ADMIN_PORT: String(await freePort()),
  };
  const args = ["start", "examples/flights/src/actors.ts", "--data-dir", dataDir];
  await using other = new Program("packages/cli/src/main.ts", args, { env });
  await other.printed(new RegExp(`gateway +127\\.0\\.0\\.1:${env.PINION_PORT}`));
  const { code, stdout } = await demo([], { env });
  expect(code).toBe(0);
  expect(stdout).toMatch(/is in use by process \d+.*Keeping this run's data in/);
  expect(stdout).toMatch(/port \d+ on 127\.0\.0\.1 is already in use: taking free ports instead/);
  expect(stdout).toMatch(/none lost, none counted twice/);
  const kept = /Keeping this run's data in (\S+) instead/.exec(stdout)?.[1];
  await rm(kept!, { recursive: true });
});

/** Others may take it before we do, but hardly ever. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

test("a wrong option is refused with the right ones", async () => {
  const { code, stderr } = await demo(["--seconds", "soon"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/--seconds takes a number from 1 to 3600, not "soon"/);
  expect(stderr).toMatch(/usage: npm start/);
  const state = await demo(["--state", "1MiB"]);
  expect(state.code).toBe(2);
  expect(state.stderr).toMatch(/--state takes 0 or 16MiB to 8GiB, not "1MiB"/);
});
