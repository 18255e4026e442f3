/** A host opened from the built packages in a process of its own (open-host.mjs): what a user's program waits for. */
import { execFile } from "node:child_process";
import { cp, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../support/program.ts";

const run = promisify(execFile);

/** What the counter `c0` must say. */
const COUNTED = 2;

export interface OpenedHost {
  /** From the call of `startHost`. */
  readonly openMs: number;
  /** From the end of Node's own start: the program's code is loaded meanwhile. */
  readonly sinceNodeMs: number;
}

/** Brings `packages/…/dist` up to date: a second when it is. */
export async function buildPackages(): Promise<void> {
  try {
    await run(process.execPath, [join(ROOT, "scripts/build.mjs")], { cwd: ROOT });
  } catch (e) {
    const said =
      e instanceof Error && "stderr" in e ? `${e.message}\n${String(e.stderr)}` : String(e);
    throw new Error(`the packages cannot be built: ${said}`, { cause: e });
  }
}

/** Opens a copy of a data directory, which lies at `copy` meanwhile; what was copied is on the disk before. */
export async function openCopy(dataDir: string, copy: string): Promise<OpenedHost> {
  await cp(dataDir, copy, { recursive: true });
  try {
    await flushFiles(copy);
    const { stdout } = await run(process.execPath, [join(ROOT, "test/bench/open-host.mjs"), copy]);
    const { value, ...opened } = JSON.parse(stdout) as OpenedHost & { value: number };
    if (value !== COUNTED)
      throw new Error(`an actor was opened with ${value} instead of ${COUNTED}`);
    return opened;
  } finally {
    await rm(copy, { recursive: true });
  }
}

async function flushFiles(dir: string): Promise<void> {
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    await using file = await open(join(entry.parentPath, entry.name), "r");
    await file.sync();
  }
}
