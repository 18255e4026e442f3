/** Trees of small files that stand for /proc and /sys. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { HostFiles } from "./host-files.ts";

/** Files by path; gone when the test has ended. */
export function hostTree(contents: Readonly<Record<string, string>>): HostFiles {
  const root = mkdtempSync(join(tmpdir(), "pinion-host-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(contents)) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return new HostFiles(root);
}
