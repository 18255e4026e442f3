/**
 * A host with its defaults, on a worker thread, whose garbage collections are watched. argv: data directory. Asked for its
 * "target", or for the "pauses" since it was last asked.
 */
import { startHost } from "@pinion/runtime";
import { serveQuestions } from "./child.ts";
import { PauseProbe } from "./pause-probe.ts";

const [, , dataDir] = process.argv as [string, string, string];
const host = await startHost({
  module: new URL("./pause-probe.ts", import.meta.url),
  dataDir,
  port: 0,
  adminPort: 0,
  logLevel: "warn",
  idleDeactivationMs: 3_600_000,
});

serveQuestions(
  async (what: "target" | "pauses") =>
    what === "target" ? host.endpoint : host.client.get(PauseProbe, "worker").take(),
  () => host.stop({ graceMs: 1_000 }),
);
