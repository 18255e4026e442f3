/** Builds the native part unless it is there, so that a suite over both doors does not depend on how it was started. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { nativeDoor } from "@pinion/storage";

const BUILD = fileURLToPath(new URL("../../packages/storage/native/build.mjs", import.meta.url));

/** @returns whether the addon can be used: false on a machine without a compiler. */
export function buildAddon(): boolean {
  execFileSync(process.execPath, [BUILD]);
  return nativeDoor().kind === "addon";
}
