/** The file a thread starts from: beside its caller, as .ts or, compiled, as .js. */
import { extname } from "node:path";

/** @param name without extension @param callerUrl `import.meta.url` of the caller */
export function threadFile(name: string, callerUrl: string): URL {
  return new URL(`${name}${extname(callerUrl)}`, callerUrl);
}
