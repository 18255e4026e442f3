/**
 * Chooses the native door of this thread: the addon if it was built for exactly this source (native/build.mjs names its
 * file by the sources' hash), else the portable one, which says why.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { messageOf } from "@pinion/core";
import { AddonDoor, type Addon } from "./addon-door.ts";
import type { MemoryAddon } from "./addon-memory.ts";
import type { ChunkAddon } from "./chunk-addon.ts";
import type { NativeDoor } from "./native-door.ts";
import { PortableDoor } from "./portable-door.ts";
import type { ScanAddon } from "./scan-addon.ts";

const require = createRequire(import.meta.url);

export type LoadedAddon = Addon & {
  readonly memory: MemoryAddon;
  readonly scan: ScanAddon;
  readonly chunks: ChunkAddon;
};

let door: NativeDoor | undefined;
let addon: LoadedAddon | string | undefined;

/** The door of this thread; every caller gets the same one. */
export function nativeDoor(): NativeDoor {
  return (door ??= openAddon());
}

function openAddon(): NativeDoor {
  const loaded = loadAddon();
  return typeof loaded === "string" ? new PortableDoor(loaded) : new AddonDoor(loaded);
}

/** @returns the addon, for a thread the same one every time, or why there is none. */
export function loadAddon(): LoadedAddon | string {
  return (addon ??= findAddon());
}

function findAddon(): LoadedAddon | string {
  if (process.platform !== "linux")
    return `the native part is for Linux, this is ${process.platform}`;
  try {
    // The folder `native` of this package, by the `imports` of its manifest: not there in an image that was stripped of it.
    const nativeDir = dirname(require.resolve("#native/build.mjs"));
    const name = `pinion-${sourceHash(nativeDir)}-${process.platform}-${process.arch}.node`;
    // Another folder of builds: the address sanitiser's (native/with-asan.mjs).
    const dir = process.env["PINION_ADDON_DIR"] ?? "";
    const path = join(nativeDir, "build", dir, name);
    if (!existsSync(path)) return "the native part is not built (no C compiler at installation?)";
    return require(path) as LoadedAddon;
  } catch (e) {
    return `the native part cannot be loaded: ${messageOf(e)}`;
  }
}

/** The same as in native/build.mjs: over all sources in order of their names. */
function sourceHash(nativeDir: string): string {
  const sources = readdirSync(nativeDir).filter((name) => /\.[ch]$/.test(name));
  const hash = createHash("sha256");
  for (const name of sources.sort()) hash.update(readFileSync(join(nativeDir, name)));
  return hash.digest("hex").slice(0, 16);
}
