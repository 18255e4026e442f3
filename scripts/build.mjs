#!/usr/bin/env node
// Builds the packages for publication: the types of every module by TypeScript, and the code as one file for each entry of a
// package (and one for what entries share), because a program that loads hundreds of small modules in each of its threads starts
// late (docs/decisions/0033).
//
// Entries are what a package's manifest names in `exports`, `imports` and `bin`; what other packages export stays an import.
import { spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";
import { packageNames, readText, ROOT } from "./lib/tree.mjs";

/** `host/worker-entry` for `./dist/host/worker-entry.js`. */
const BUILT = /^\.\/dist\/(.+)\.js$/;

function entriesOf(manifest) {
  const targets = [manifest.exports, manifest.imports]
    .flatMap((map) => Object.values(map ?? {}))
    .map((target) => target.default);
  const names = [...targets, ...Object.values(manifest.bin ?? {})]
    .map((target) => BUILT.exec(target ?? "")?.[1])
    .filter((name) => name !== undefined);
  return Object.fromEntries(names.map((name) => [name, join("src", `${name}.ts`)]));
}

/** Code of an earlier build, whose shared files had other names. */
function removeOthers(dist, written) {
  for (const name of readdirSync(dist, { recursive: true })) {
    if (/\.js(\.map)?$/.test(name) && !written.has(name)) rmSync(join(dist, name));
  }
}

async function buildCode(name) {
  const folder = join(ROOT, "packages", name);
  const dist = join(folder, "dist");
  const manifest = JSON.parse(readText(`packages/${name}/package.json`));
  const bundle = await rolldown({
    cwd: folder,
    input: entriesOf(manifest),
    external: (id) => !/^([./]|src\/)/.test(id),
    platform: "node",
  });
  const { output } = await bundle.write({
    dir: dist,
    format: "esm",
    sourcemap: true,
    comments: false,
    entryFileNames: "[name].js",
    chunkFileNames: "shared/[name]-[hash].js",
  });
  await bundle.close();
  removeOthers(dist, new Set(output.map(({ fileName }) => fileName)));
}

function buildTypes(names) {
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const folders = names.map((name) => join(ROOT, "packages", name));
  const { status } = spawnSync(process.execPath, [tsc, "-b", ...folders], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

const names = packageNames();
buildTypes(names);
await Promise.all(names.map(buildCode));
