/**
 * The extents an actor type declares, and how a turn reaches them: `ctx.extents.<name>`, a handle of the structure that is declared for the name.
 */
import { parseQuantity, PinionError, QUANTITY_FORMS } from "@pinion/core";
import {
  checkDeclarations,
  handlesClass,
  PRIORITY_OF_PROFILE,
  type ExtentAccess,
  type MemoryProfile,
  type TypeBudget,
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

/** Less holds not even one extent. */
const PIN_BYTES_MIN = 64 * 1024;

/** What bounds a type; undefined: nothing but the host's budget. @throws `invalid-argument` */
export function typeBudgetOf(type: string, memory: MemoryOptions): TypeBudget | undefined {
  const { pinBytesMax, pinShareMax } = memory;
  if (pinBytesMax === undefined && pinShareMax === undefined) return undefined;
  const bytes = typeof pinBytesMax === "string" ? parseQuantity(pinBytesMax, "bytes") : pinBytesMax;
  if (pinBytesMax !== undefined && !(Number.isSafeInteger(bytes) && Number(bytes) >= PIN_BYTES_MIN))
    throw wrongBudget(
      type,
      "pinBytesMax",
      pinBytesMax,
      `whole bytes from 64 KiB on, or ${QUANTITY_FORMS.bytes}`,
    );
  const isShare = typeof pinShareMax === "number" && pinShareMax > 0 && pinShareMax <= 1;
  if (pinShareMax !== undefined && !isShare)
    throw wrongBudget(type, "pinShareMax", pinShareMax, "a share above 0, up to 1");
  return { pinBytesMax: bytes, pinShareMax };
}

function wrongBudget(type: string, key: string, value: unknown, expected: string): PinionError {
  return new PinionError(
    "invalid-argument",
    `memory.${key} of actor "${type}" must be ${expected}, not ${String(value)}`,
    { details: { type, key: `memory.${key}` } },
  );
}

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
  if (memory !== undefined && typeBudgetOf(type, memory) !== undefined && names.length === 0) {
    throw new PinionError(
      "invalid-argument",
      `actor "${type}" bounds the memory of its extents and declares none: memory.extents is empty`,
    );
  }
  if (names.length === 0) return undefined;
  checkDeclarations(`actor "${type}"`, declarations);
  const Handles = handlesClass(declarations);
  return { declarations, names, profile, handlesOf: (extent) => new Handles(extent) };
}
