/**
 * The extents an actor type declares, and how a turn reaches them: `ctx.extents.<name>`, a handle of the structure that is declared for the name.
 */
import { PinionError } from "@pinion/core";
import { PRIORITY_OF_PROFILE, type ExtentAccess, type MemoryProfile } from "@pinion/storage";
import type { ExtentOptions, MemoryOptions } from "../definition/define-actor.ts";

export interface DeclaredExtents {
  readonly declarations: ExtentOptions;
  readonly names: readonly string[];
  readonly profile: MemoryProfile;
  /** An object with a handle for each name, made when it is first asked for. */
  handlesOf(extent: (name: string) => ExtentAccess): object;
}

const PROFILES = Object.keys(PRIORITY_OF_PROFILE);
const EXTENTS_MAX = 256;
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

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
  if (names.length > EXTENTS_MAX)
    throw new PinionError(
      "invalid-argument",
      `actor "${type}" has more than ${EXTENTS_MAX} extents`,
    );
  for (const name of names) {
    if (NAME.test(name) && typeof declarations[name]?.open === "function") continue;
    throw new PinionError(
      "invalid-argument",
      `extent "${name}" of actor "${type}" must have a name of A-Z a-z 0-9 _ - that begins with a letter, and be a structure such as column("f64")`,
    );
  }
  const Handles = handlesClass(declarations);
  return { declarations, names, profile, handlesOf: (extent) => new Handles(extent) };
}

/** Getters on a prototype: a turn that reaches for one extent makes one handle. */
function handlesClass(
  declarations: ExtentOptions,
): new (extent: (name: string) => ExtentAccess) => object {
  class Handles {
    readonly #extent: (name: string) => ExtentAccess;
    readonly #made = new Map<string, unknown>();

    constructor(extent: (name: string) => ExtentAccess) {
      this.#extent = extent;
    }

    static handle(handles: Handles, name: string): unknown {
      if (!handles.#made.has(name))
        handles.#made.set(name, declarations[name]?.open(handles.#extent(name)));
      return handles.#made.get(name);
    }
  }
  for (const name of Object.keys(declarations)) {
    Object.defineProperty(Handles.prototype, name, {
      enumerable: true,
      get(this: Handles): unknown {
        return Handles.handle(this, name);
      },
    });
  }
  return Handles;
}
