import { isPinionError } from "@pinion/core";

/** Whether what was read is damaged, or cannot be read: an error of what lies there, whatever else is written. */
export function isDamage(error: unknown): boolean {
  return isPinionError(error, "corruption") || isPinionError(error, "io-error");
}
