/** What a volume is declared to hold, and how a turn gets at it: an object with a handle for each name. */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import type { StructureDefinition } from "../structures/structure.ts";

/** Structures by name, such as `{ delays: column("f64") }`. */
export type VolumeDeclarations = Readonly<Record<string, StructureDefinition<unknown>>>;

/** The handles of a turn: for each declared structure its own. */
export type VolumeHandles<D extends VolumeDeclarations> = {
  readonly [Name in keyof D]: D[Name] extends StructureDefinition<infer Handle> ? Handle : never;
};

const EXTENTS_MAX = 256;
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

/** @throws `invalid-argument` */
export function checkDeclarations(volume: string, declarations: VolumeDeclarations): void {
  const names = Object.keys(declarations);
  if (names.length === 0 || names.length > EXTENTS_MAX) {
    throw new PinionError(
      "invalid-argument",
      `volume "${volume}" declares ${names.length} structures; it takes 1 to ${EXTENTS_MAX}`,
    );
  }
  for (const name of names) {
    if (NAME.test(name) && typeof declarations[name]?.open === "function") continue;
    throw new PinionError(
      "invalid-argument",
      `"${name}" of volume "${volume}" must have a name of A-Z a-z 0-9 _ - that begins with a letter, and be a structure such as column("f64")`,
    );
  }
}

/** @param extent of the turn, by name; asked for when a handle is first used */
export function handlesOf<D extends VolumeDeclarations>(
  declarations: D,
  extent: (name: string) => ExtentAccess,
): VolumeHandles<D> {
  const handles = {};
  for (const [name, declaration] of Object.entries(declarations)) {
    let handle: unknown;
    Object.defineProperty(handles, name, {
      enumerable: true,
      get: () => (handle ??= declaration.open(extent(name))),
    });
  }
  return handles as VolumeHandles<D>;
}
