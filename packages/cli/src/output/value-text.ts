/** Values of actors, for people. */
import { inspect } from "node:util";
import { plain } from "./style.ts";
import type { Output } from "./output.ts";

/** Deep enough for any value worth reading on a terminal. */
const DEPTH_SHOWN = 12;

export function valueText(value: unknown, { paint, columns }: Output): string {
  return inspect(value, {
    colors: paint !== plain,
    depth: DEPTH_SHOWN,
    breakLength: columns,
    maxArrayLength: null,
    maxStringLength: null,
  });
}
