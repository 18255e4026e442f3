/** This package's version, for messages and files: read from its manifest. */
import { createRequire } from "node:module";

const manifest = createRequire(import.meta.url)("#manifest") as { version: string };

export const VERSION: string = manifest.version;
