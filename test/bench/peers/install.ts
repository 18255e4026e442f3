/** The peers' packages: in a folder that git ignores and the workspace does not know, installed when they are first needed. */
import { execFile } from "node:child_process";
import { cp, mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const WANTED = join(import.meta.dirname, "package.json");

export const PEERS_DIR = join(ROOT, ".cache", "bench-peers");
const INSTALLED = join(PEERS_DIR, "package.json");

/** Loads one of the peers' packages. */
export const requirePeer = createRequire(INSTALLED);

export const peerFile = (...path: string[]): string => join(PEERS_DIR, "node_modules", ...path);

/** Versions by package name. */
export async function versions(): Promise<Readonly<Record<string, string>>> {
  const { dependencies } = JSON.parse(await readFile(WANTED, "utf8")) as {
    dependencies: Record<string, string>;
  };
  return dependencies;
}

/** Installs what package.json names, unless it is there. */
export async function installPeers(): Promise<void> {
  const wanted = await readFile(WANTED, "utf8");
  const installed = await readFile(join(PEERS_DIR, "installed.json"), "utf8").catch(() => "");
  if (installed === wanted) return;
  console.error(`installing the peers' packages in ${PEERS_DIR} …`);
  await mkdir(PEERS_DIR, { recursive: true });
  await cp(WANTED, INSTALLED);
  await promisify(execFile)("npm", ["install", "--no-package-lock", "--no-audit", "--no-fund"], {
    cwd: PEERS_DIR,
  });
  await cp(WANTED, join(PEERS_DIR, "installed.json"));
}
