/** The subject's server: a host with its defaults. argv: data directory. Asked for its "target", or for counters of its "log". */
import { startHost } from "@pinion/runtime";
import { serveQuestions } from "./child.ts";

export interface LogCounters {
  readonly bytes: number;
  readonly records: number;
}

const [, , dataDir] = process.argv as [string, string, string];
const host = await startHost({
  module: new URL("./counter.ts", import.meta.url),
  dataDir,
  port: 0,
  adminPort: 0,
  logLevel: "warn",
});

async function logCounters(): Promise<LogCounters> {
  const page = await (await fetch(`http://${host.adminEndpoint}/metrics`)).text();
  const sum = (name: string): number =>
    [...page.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce(
      (total, [, number]) => total + Number(number),
      0,
    );
  return {
    bytes: sum("pinion_log_written_bytes_total"),
    records: sum("pinion_log_records_total"),
  };
}

serveQuestions(
  (what: "target" | "log") => (what === "target" ? Promise.resolve(host.endpoint) : logCounters()),
  () => host.stop({ graceMs: 1_000 }),
);
