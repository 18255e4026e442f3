/** Paths as people read them. */
import { relative } from "node:path";

/** Relative to `cwd` where it lies below, else as it is. */
export function pathText(path: string, cwd: string): string {
  const below = relative(cwd, path);
  return below === "" ? "." : below.startsWith("..") ? path : below;
}
