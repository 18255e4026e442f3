/**
 * The extents an actor type declares, and how a turn reaches them: `ctx.extents.<name>`, a handle of the structure that is declared for the name.
 */
import { PinionError } from "@pinion/core";
import {
  checkDeclarations,
  handlesClass,
  PRIORITY_OF_PROFILE,
  type ExtentAccess,
  type MemoryProfile,
} from "@pinion/storage";
import type { ExtentOptions, MemoryOptions } from "../definition/define-actor.ts";

export interface DeclaredExtents {
  readonly declarations: ExtentOptions;
  readonly names: readonly string[];
  readonly profile: MemoryProfile;
  /** An object with a handle for each name, made when it is first asked for. */
  handlesOf(extent: (name: string) => ExtentAccess): object;
}

const PROFILES = Object.keys(PRIORITY_OF_PROFILE);

/** @throws `invalid-argument` */
export function declareExtents(
  type: string,
  memory: MemoryOptions | undefined,
): DeclaredExtents | undefined {
  const profile = memory?.profile ?? "warm";
  if (!PROFILES.includes(profile)) {
    throw new PinionError(
      "invalid-argument",
      `memory.profile of actor "${type}" must be one of ${PROFILES.join(", ")}, not "${String(profile)}"`,
    );
  }
  const declarations = memory?.extents ?? {};
  const names = Object.keys(declarations);
  if (names.length === 0) return undefined;
  checkDeclarations(`actor "${type}"`, declarations);
  const Handles = handlesClass(declarations);
  return { declarations, names, profile, handlesOf: (extent) => new Handles(extent) };
}
