/** This package's version, for messages and files: read from its manifest, two steps up from `src/host` and `dist/host`. */
import { createRequire } from "node:module";

const manifest = createRequire(import.meta.url)("../../package.json") as { version: string };

export const VERSION: string = manifest.version;
