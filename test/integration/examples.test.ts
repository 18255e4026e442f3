// Every example does what its first lines say, by the command they name.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Program, ROOT, runCommand, runProgram } from "../support/program.ts";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pinion-examples-test-"));
});
afterEach(() => rm(dir, { recursive: true }));

const run = async (name: string): Promise<string> => {
  const { code, stdout, stderr } = await runProgram(`examples/${name}`, [], {
    env: { PINION_DATA_DIR: join(dir, "data") },
  });
  // A host says on stderr when it serves; anything worse is a failure.
  expect(stderr).not.toMatch(/WARN|ERROR|error/i);
  expect(code).toBe(0);
  return stdout;
};

test.each(readdirSync(join(ROOT, "examples")).filter((name) => name.endsWith(".ts")))(
  "%s names the command that runs it in its first comment",
  async (name) => {
    const [comment = ""] = (await readFile(join(ROOT, "examples", name), "utf8")).split("*/");
    expect(comment).toMatch(new RegExp(`npm run (?:example|pinion -- dev) examples/${name}`));
  },
);

test("embed.ts calls one actor from inside and from outside", async () => {
  const output = await run("embed.ts");
  expect(output).toMatch(/in the host: +3$/m);
  expect(output).toMatch(/over the network: +4$/m);
});

test("bank-transfer.ts moves money once, and gets a refusal as an error", async () => {
  const output = await run("bank-transfer.ts");
  expect(output).toMatch(/transfer of 70: +done$/m);
  expect(output).toMatch(/the same once more: +was done before$/m);
  expect(output).toMatch(/InsufficientFunds: ada has 30, not 70$/m);
  expect(output).toMatch(/now have: 30 70$/m);
});

test("reminders.ts goes on after a pause, with one call for what was missed", async () => {
  const output = await run("reminders.ts");
  expect(output).toMatch(/^check +next at \d{4}-/m);
  const counts = [...output.matchAll(/checks: (\d+), reports: 0, missed: (\d+)/g)];
  const [before, after] = counts.map(([, checks, missed]) => [Number(checks), Number(missed)]);
  expect(before?.[0]).toBeGreaterThanOrEqual(2);
  expect(after?.[0]).toBeGreaterThan(before?.[0] ?? 0);
  expect(after?.[1]).toBeGreaterThanOrEqual(5);
});

test("storage-only.ts finds all it has written, from the log and from a snapshot", async () => {
  expect(await run("storage-only.ts")).toMatch(/^0 entries replayed.*\{\}$/m);
  expect(await run("storage-only.ts")).toMatch(/^1000 entries replayed.*a: 500/m);
  expect(await run("storage-only.ts")).toMatch(/snapshot at LSN 3000/);
  expect(await run("storage-only.ts")).toMatch(/^0 entries replayed.*a: 1500/m);
});

test("cart.ts is the README's actor, and does what the README says", async () => {
  const source = await readFile(join(ROOT, "examples/cart.ts"), "utf8");
  const readme = await readFile(join(ROOT, "README.md"), "utf8");
  expect(readme).toContain(source.slice(source.indexOf("import {")));

  const place = ["--data-dir", join(dir, "data")];
  const args = ["dev", "examples/cart.ts", ...place, "--port", "0", "--admin-port", "0"];
  await using host = new Program("packages/cli/src/main.ts", args);
  await host.printed(/gateway/);
  const call = async (...words: string[]) =>
    (await runCommand(["call", ...place, ...words])).stdout;
  await call("cart/ada", "add", "apple", "3");
  expect(await call("cart/ada", "items")).toBe("Map(1) { 'apple' => 3 }\n");
  expect((await runCommand(["inspect", ...place, "cart/ada"])).stdout).toMatch(
    /reminder +forgotten: clear/,
  );
  await call("cart/ada", "checkout");
  expect(await call("cart/ada", "items")).toBe("Map(0) {}\n");
  // A send arrives when it arrives.
  await expect.poll(() => call("stock/apple", "sell", "0"), { timeout: 20_000 }).toBe("3\n");
});
