/** Structures by name, as an actor type or a volume declares them, and how a turn gets at them: an object with a handle for each name. */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import type { StructureDefinition } from "./structure.ts";

/** Such as `{ delays: column("f64") }`. */
export type StructureDeclarations = Readonly<Record<string, StructureDefinition<unknown>>>;

/** The handles of a turn: for each declared structure its own. */
export type StructureHandles<D> = {
  readonly [Name in keyof D]: D[Name] extends StructureDefinition<infer Handle> ? Handle : never;
};

const NAMES_MAX = 256;
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

/** @param owner what they belong to, such as `actor "airport"` @throws `invalid-argument` */
export function checkDeclarations(owner: string, declarations: StructureDeclarations): void {
  const names = Object.keys(declarations);
  if (names.length > NAMES_MAX) {
    throw new PinionError(
      "invalid-argument",
      `${owner} declares ${names.length} extents; at most ${NAMES_MAX} are possible`,
    );
  }
  for (const name of names) {
    if (NAME.test(name) && typeof declarations[name]?.open === "function") continue;
    throw new PinionError(
      "invalid-argument",
      `extent "${name}" of ${owner} must have a name of A-Z a-z 0-9 _ - that begins with a letter, and be a structure such as column("f64")`,
    );
  }
}

/** What makes a turn's handles; `extent` is asked for one when it is first reached for. */
export type HandlesClass<D> = new (extent: (name: string) => ExtentAccess) => StructureHandles<D>;

/** Getters on a prototype, made once for all turns. */
export function handlesClass<D extends StructureDeclarations>(declarations: D): HandlesClass<D> {
  class Handles {
    readonly #extent: (name: string) => ExtentAccess;
    readonly #made: unknown[] = [];

    constructor(extent: (name: string) => ExtentAccess) {
      this.#extent = extent;
    }

    static handle(handles: Handles, name: string, number: number): unknown {
      return (handles.#made[number] ??= declarations[name]?.open(handles.#extent(name)));
    }
  }
  for (const [number, name] of Object.keys(declarations).entries()) {
    Object.defineProperty(Handles.prototype, name, {
      enumerable: true,
      get(this: Handles): unknown {
        return Handles.handle(this, name, number);
      },
    });
  }
  return Handles as unknown as HandlesClass<D>;
}
