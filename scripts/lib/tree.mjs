// What is in the working tree: shared by the checks. Walks the file system rather than asking git,
// so that a downloaded archive can be checked as well, and a new file before it is added.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const NOT_OURS = new Set([
  ".cache",
  ".git",
  ".pinion",
  "build",
  "coverage",
  "dist",
  "node_modules",
]);

/** Paths relative to the root, sorted, of every file below `folder` that is written by hand or kept. */
export function listFiles(folder = ".") {
  const found = [];
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    if (NOT_OURS.has(entry.name)) continue;
    const path = folder === "." ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...listFiles(path));
    else if (entry.isFile()) found.push(path);
  }
  return found.sort();
}

/** The text of a file of the tree. */
export function readText(path) {
  return readFileSync(join(ROOT, path), "utf8");
}

/** Names of the folders in packages/. */
export function packageNames() {
  return readdirSync(join(ROOT, "packages"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/**
 * Source with comments blanked and the text of strings kept: good enough for checks that look for
 * names, because a comment may talk about anything. Line numbers stay what they were.
 */
export function withoutComments(source) {
  const token =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;
  return source.replace(token, (text) =>
    text.startsWith("/") ? text.replaceAll(/[^\n]/g, " ") : text,
  );
}
