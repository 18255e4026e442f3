// Imported before a program: notes every file that it and its threads load in the file that PINION_TRACE names, a line each:
// sources, addons, and the libraries these need.
import { appendFileSync, readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";

const note = (path) => appendFileSync(process.env.PINION_TRACE, `${path}\n`);

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    if (resolved.url.startsWith("file:")) note(fileURLToPath(resolved.url));
    return resolved;
  },
});
if (isMainThread)
  process.on("exit", () => {
    const mapped = readFileSync("/proc/self/maps", "latin1").matchAll(/ (\/\S+)$/gm);
    for (const [, path] of mapped) if (/\.so(\.|$)|\.node$/.test(path)) note(path);
  });
