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

/**
 * One character beyond ASCII makes the engine keep a file as text of two bytes a character, and decoding and scanning it takes half as long again
 * (docs/decisions/0033). There are no comments left and no raw templates, so an escape means the same. In
 * source maps, columns behind one on its line are some too small.
 */
const asciiOnly = {
  name: "ascii-only",
  generateBundle(_options, files) {
    for (const file of Object.values(files)) {
      if (file.type !== "chunk") continue;
      file.code = file.code.replace(/[\u0080-\uffff]/g, (unit) => {
        const hex = unit.charCodeAt(0).toString(16);
        return `\\u${hex.padStart(4, "0")}`;
      });
    }
  },
};

async function buildCode(name) {
  const folder = join(ROOT, "packages", name);
  const dist = join(folder, "dist");
  const manifest = JSON.parse(readText(`packages/${name}/package.json`));
  const bundle = await rolldown({
    cwd: folder,
    input: entriesOf(manifest),
    external: (id) => !/^([./]|src\/)/.test(id),
    platform: "node",
    plugins: [asciiOnly],
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
