#!/usr/bin/env node
// Rules of this code base that no linter knows:
//   S1  no file is longer than 500 lines
//   S2  packages depend on each other in one direction only, and only through their public entries
//   S3  no cycle between the folders of a package
//   S4  no wall clock in packages outside core (`new Date()`; the linter has the rest)
//   S5  the lock file holds no download addresses
import { dirname, posix } from "node:path";
import { listFiles, packageNames, readText, withoutComments } from "./lib/tree.mjs";

const LINES_MAX = 500;
const COUNTED = /\.(ts|mts|mjs|js|c|h|proto|md|sh|yaml|yml|tf)$|^\.ci\/run$/;
const NOT_COUNTED = /^pnpm-lock\.yaml$|^docs\/api\/|\.d\.ts\.txt$/;

/** The arrows of ARCHITECTURE.md: what each package may import. */
const MAY_IMPORT = {
  core: [],
  client: ["core"],
  storage: ["core"],
  placement: ["core"],
  runtime: ["client", "storage", "placement", "core"],
  cli: ["client", "storage", "placement", "runtime", "core"],
};

const problems = [];
const report = (path, line, text) => problems.push(`${path}:${line}: ${text}`);
const lineAt = (source, index) => source.slice(0, index).split("\n").length;

/** `import … from "x"`, `export … from "x"`, `import("x")`, `import "x"`. */
function importsOf(source) {
  const pattern = /\b(?:from|import)\s*\(?\s*"([^"]+)"/g;
  return [...source.matchAll(pattern)].map((match) => ({
    specifier: match[1],
    line: lineAt(source, match.index),
  }));
}

function checkLength(path) {
  if (!COUNTED.test(path) || NOT_COUNTED.test(path)) return;
  const lines = readText(path).split("\n").length - 1;
  if (lines > LINES_MAX) report(path, lines, `has ${lines} lines, ${LINES_MAX} are allowed (S1)`);
}

function checkLayering(name, path, imports) {
  for (const { specifier, line } of imports) {
    const match = /^@pinion\/([^/]+)(\/.*)?$/.exec(specifier);
    if (match === null) {
      const outside = specifier.startsWith(".") && leavesPackage(name, path, specifier);
      if (outside)
        report(path, line, `${specifier} reaches into another package: import it by name (S2)`);
      continue;
    }
    const allowed = MAY_IMPORT[name] ?? [];
    if (!allowed.includes(match[1])) {
      report(
        path,
        line,
        `${name} may not import ${specifier}; allowed: ${allowed.join(", ") || "nothing"} (S2)`,
      );
    }
  }
}

function leavesPackage(name, path, specifier) {
  return !posix.join(dirname(path), specifier).startsWith(`packages/${name}/`);
}

function checkManifest(name) {
  const path = `packages/${name}/package.json`;
  const manifest = JSON.parse(readText(path));
  const all = {
    ...manifest.dependencies,
    ...manifest.peerDependencies,
    ...manifest.devDependencies,
  };
  for (const dependency of Object.keys(all)) {
    const other = /^@pinion\/(.+)$/.exec(dependency)?.[1];
    if (other !== undefined && !(MAY_IMPORT[name] ?? []).includes(other)) {
      report(path, 1, `${name} may not depend on ${dependency} (S2)`);
    }
  }
}

/** A subsystem is a first-level folder of src, or a file beside them. Tests and index.ts see everything. */
function subsystemOf(path, prefix) {
  if (!path.startsWith(prefix)) return undefined;
  return path.slice(prefix.length).split("/")[0];
}

function checkFolderCycles(name, filesWithImports) {
  const prefix = `packages/${name}/src/`;
  const edges = new Map();
  for (const { path, imports } of filesWithImports) {
    const from = subsystemOf(path, prefix);
    if (from === undefined || path.endsWith(".test.ts") || path === `${prefix}index.ts`) continue;
    for (const { specifier, line } of imports) {
      if (!specifier.startsWith(".")) continue;
      const to = subsystemOf(posix.join(dirname(path), specifier), prefix);
      if (to === undefined || to === from) continue;
      if (!edges.has(from)) edges.set(from, new Map());
      if (!edges.get(from).has(to)) edges.get(from).set(to, `${path}:${line}`);
    }
  }
  const finished = new Set();
  const visit = (node, trail) => {
    const at = trail.indexOf(node);
    if (at !== -1) {
      const cycle = [...trail.slice(at), node];
      const where = cycle
        .slice(1)
        .map((to, i) => `\n    ${cycle[i]} → ${to}: ${edges.get(cycle[i]).get(to)}`);
      report(`packages/${name}/src`, 1, `cycle between ${cycle.join(" → ")} (S3)${where.join("")}`);
      return;
    }
    if (finished.has(node)) return;
    for (const next of edges.get(node)?.keys() ?? []) visit(next, [...trail, node]);
    finished.add(node);
  };
  for (const node of edges.keys()) visit(node, []);
}

function checkClock(path, source) {
  for (const match of source.matchAll(/\bnew Date\(\s*\)|\bDate\(\s*\)/g)) {
    report(path, lineAt(source, match.index), `${match[0]}: take a Clock from @pinion/core (S4)`);
  }
}

for (const path of listFiles()) checkLength(path);
for (const name of packageNames()) {
  if (!Object.hasOwn(MAY_IMPORT, name)) report(`packages/${name}`, 1, "is not in MAY_IMPORT (S2)");
  checkManifest(name);
  const files = listFiles(`packages/${name}`)
    .filter((path) => path.endsWith(".ts"))
    .map((path) => {
      const source = withoutComments(readText(path));
      return { path, source, imports: importsOf(source) };
    });
  for (const { path, source, imports } of files) {
    checkLayering(name, path, imports);
    if (name !== "core") checkClock(path, source);
  }
  checkFolderCycles(name, files);
}
if (/https?:/.test(readText("pnpm-lock.yaml"))) {
  report("pnpm-lock.yaml", 1, "holds a download address: remove `tarball:` (S5)");
}

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
