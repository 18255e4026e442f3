/** This package's version, read from its manifest: one step up from `src` and from `dist`. */
import { createRequire } from "node:module";

const manifest = createRequire(import.meta.url)("../package.json") as { version: string };

export const VERSION: string = manifest.version;
