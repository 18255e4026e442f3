/** docs/data-directory.md describes every file there is, and nothing else is in a data directory. */
import { existsSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "@pinion/client";
import { expect, it } from "vitest";
import { HostProcess } from "../support/host-process.ts";
import { ROOT } from "../support/program.ts";
import { temporaryDir } from "../support/temporary-dir.ts";
import { Counter } from "./fixtures/counter.ts";

const DOCUMENT = readFileSync(join(ROOT, "docs/data-directory.md"), "utf8");

/** A path as the document writes it. */
const described = (path: string): string =>
  path
    .replace(/worker-\d+/, "worker-<n>")
    .replace(/\d{16}/, "<sequence>")
    .replace(/segments\/\d{5}\/\d{10}/, "segments/<shard>/<segment>")
    .replace(/spare-[0-9a-f]+/, "spare-<hex>");

it("every file that a host has made is described", async () => {
  await using dir = await temporaryDir();
  await using first = await HostProcess.start({ dataDir: dir.path });
  await first.stop(); // with a checkpoint
  await using host = await HostProcess.start({ dataDir: dir.path, blockedRestartMs: 2_100 });
  await using client = await connect(host.endpoint);
  await client.get(Counter, "a").increment(1);
  // Makes blocked-calls appear.
  await client
    .get(Counter, "a")
    .block(600_000)
    .catch(() => {});
  await host.kill();
  const entries = await readdir(dir.path, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(dir.path.length + 1));
  expect(files).toContain("blocked-calls");
  expect(files.some((file) => file.endsWith(".seg"))).toBe(true);
  const missing = files.filter((file) => !DOCUMENT.includes(`\`${described(file)}\``));
  expect(missing).toEqual([]);
});

it("the source files the document names exist", () => {
  for (const [path] of DOCUMENT.matchAll(/packages\/[\w/.-]+\.ts/g))
    expect(existsSync(join(ROOT, path)), path).toBe(true);
});
