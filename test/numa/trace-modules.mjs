// Prints, as JSON, every file that the guest's modules load: sources, addons, and the libraries these need.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

const files = new Set();
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    if (resolved.url.startsWith("file:")) files.add(fileURLToPath(resolved.url));
    return resolved;
  },
});
await import("./guest/main.ts");
await import("./guest/worker.ts");
const { memoryDoor } = await import("@pinion/storage");
memoryDoor();
const mapped = readFileSync("/proc/self/maps", "latin1").matchAll(/ (\/\S+)$/gm);
for (const [, path] of mapped) if (/\.so(\.|$)|\.node$/.test(path)) files.add(path);
console.log(JSON.stringify([...files].sort()));
