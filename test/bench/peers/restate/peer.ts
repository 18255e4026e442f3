/** Restate: its server (one node, all roles in one process) and a Node process with the SDK that it calls back. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { peerFile, requirePeer } from "../install.ts";
import type { Peer } from "../peer.ts";
import { freePort, ServerProcess } from "../server-process.ts";

export const restate: Peer = {
  name: "Restate",
  durability: "replicated log of one node, its defaults",
  client: new URL("client.ts", import.meta.url),
  async start(dir) {
    await mkdir(dir, { recursive: true });
    const [sdkPort, ingress, admin, node] = await Promise.all([
      freePort(),
      freePort(),
      freePort(),
      freePort(),
    ]);
    const sdkEntry = pathToFileURL(requirePeer.resolve("@restatedev/restate-sdk")).href;
    const service = join(import.meta.dirname, "service.mjs");
    const sdk = new ServerProcess(
      process.execPath,
      [service, String(sdkPort), sdkEntry],
      join(dir, "sdk.log"),
      { NODE_ENV: "production", RESTATE_LOGGING: "ERROR" },
    );
    const server = new ServerProcess(
      peerFile("@restatedev", "restate-server-linux-x64", "bin", "restate-server"),
      ["--node-name", "bench", "--listen-mode", "tcp", "--no-logo"],
      join(dir, "restate.log"),
      {
        RESTATE_BASE_DIR: join(dir, "data"),
        RESTATE_DISABLE_TELEMETRY: "true",
        RESTATE_LOG_FILTER: "warn",
        RESTATE_BIND_IP: "127.0.0.1",
        RESTATE_BIND_PORT: String(node),
        RESTATE_ADVERTISED_HOST: "127.0.0.1",
        RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${ingress}`,
        RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${admin}`,
      },
    );
    await server.answers(`http://127.0.0.1:${admin}/health`);
    await server.answers(`http://127.0.0.1:${admin}/deployments`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ uri: `http://127.0.0.1:${sdkPort}`, force: true }),
    });
    const origin = `http://127.0.0.1:${ingress}`;
    await server.answers(`${origin}/counter/ready/value`, { method: "POST" });
    return {
      origin,
      stop: async () => {
        await server.stop();
        await sdk.stop();
      },
    };
  },
};
