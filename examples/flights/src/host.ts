/**
 * The host process of the example: started, killed and started again by host-process.ts, which it talks to over Node's IPC
 * channel. In a program of your own these are two lines:
 *
 *     const host = await startHost({ module: new URL("./actors.ts", import.meta.url), dataDir });
 *     console.log(host.endpoint);
 */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPinionError, messageOf } from "@pinion/core";
import { startHost } from "@pinion/runtime";

/** What the host process is asked for, as JSON in its first argument. */
export interface HostRequest {
  readonly dataDir: string;
  /** Undefined: the default ports, or any free ones if those are taken. */
  readonly ports: { readonly port: number; readonly adminPort: number } | undefined;
  /** JavaScript heap of the thread the actors run in; undefined: the default. */
  readonly workerHeapBytes?: number;
}

export type HostMessage =
  | {
      readonly kind: "ready";
      readonly endpoint: string;
      readonly adminEndpoint: string;
      readonly dataDir: string;
      /** What is not as usual, in sentences. */
      readonly notes: readonly string[];
    }
  | { readonly kind: "failed"; readonly message: string };

const module = new URL("./actors.ts", import.meta.url);

async function start(request: HostRequest) {
  const notes: string[] = [];
  const { workerHeapBytes } = request;
  let { dataDir, ports } = request;
  for (;;) {
    try {
      return {
        host: await startHost({ module, dataDir, workerHeapBytes, ...ports }),
        dataDir,
        notes,
      };
    } catch (e) {
      // Another host runs here. Whoever asked for certain ports wants those and no others.
      if (isPinionError(e, "port-in-use") && request.ports === undefined && ports === undefined) {
        ports = { port: 0, adminPort: 0 };
        notes.push(`${e.message}: taking free ports instead.`);
      } else if (
        isPinionError(e, "data-dir-locked") &&
        dataDir === request.dataDir &&
        !request.ports
      ) {
        dataDir = await mkdtemp(join(tmpdir(), "pinion-flights-"));
        notes.push(`${e.message}. Keeping this run's data in ${dataDir} instead.`);
      } else throw e;
    }
  }
}

function tell(message: HostMessage): void {
  process.send?.(message);
}

// Ctrl-C reaches this process as well; its parent decides what it means.
process.on("SIGINT", () => {});
try {
  const { host, dataDir, notes } = await start(JSON.parse(process.argv[2] ?? "{}") as HostRequest);
  // The parent asks for a stop by closing the channel, or is gone.
  process.once("disconnect", () => void host.stop());
  tell({
    kind: "ready",
    endpoint: host.endpoint,
    adminEndpoint: host.adminEndpoint,
    dataDir,
    notes: [...notes, ...host.degraded.map(({ what, why }) => `${what}: ${why}`)],
  });
} catch (e) {
  tell({ kind: "failed", message: messageOf(e) });
  process.exitCode = 1;
  process.disconnect();
}
