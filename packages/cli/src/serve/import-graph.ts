/**
 * Which local files a module is made of: itself and what it imports by a relative path, and so on.
 *
 * Found by reading, not by running: a module with a mistake in it has to be watched, too.
 *
 * I1 too many files are harmless, one too few is not: anything that looks like an import of a file that exists counts.
 * I2 packages (`node_modules`) are not followed.
 */
import { readFile } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";

/** A module of more files than this is watched only so far. */
export const FILES_MAX = 2_000;

/** `from "./x"`, `import "./x"`, `import("./x")`, `new URL("./x", import.meta.url)`. */
const SPECIFIER = /(?:\bfrom|\bimport|\bimport\s*\(|\bURL\s*\()\s*["'`](\.{1,2}\/[^"'`\n]+)["'`]/g;
const IS_CODE = /\.[cm]?[jt]sx?$/;

export interface SourceFile {
  /** Undefined while the file does not exist: it is watched all the same. */
  readonly content: string | undefined;
}

/** Absolute paths of the module's files with what they hold now. @param entry absolute path */
export async function importGraph(entry: string): Promise<Map<string, SourceFile>> {
  const files = new Map<string, SourceFile>();
  const waiting = [entry];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (files.has(path) || files.size >= FILES_MAX) continue;
    const content = await readFile(path, "utf8").catch(() => undefined);
    files.set(path, { content });
    if (content !== undefined && IS_CODE.test(path)) waiting.push(...importsOf(path, content));
  }
  return files;
}

export function importsOf(path: string, content: string): string[] {
  return [...content.matchAll(SPECIFIER)]
    .map((match) => resolve(dirname(path), match[1] as string))
    .filter((file) => !file.split(sep).includes("node_modules")); // I2
}
