/** The file a thread starts from, by its name in the `imports` of this package's manifest: a source, or what was built from it. */
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const threadFile = (name: "#control-entry" | "#worker-entry"): string =>
  require.resolve(name);
