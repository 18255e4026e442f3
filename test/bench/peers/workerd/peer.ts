/** Cloudflare Durable Objects on their open-source runtime: one process, SQLite storage in local files. */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { peerFile } from "../install.ts";
import type { Peer } from "../peer.ts";
import { freePort, ServerProcess } from "../server-process.ts";

const config = (port: number): string => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    ( name = "main", worker = .main ),
    ( name = "do", disk = ( writable = true ) ),
  ],
  sockets = [ ( name = "http", address = "127.0.0.1:${port}", http = (), service = "main" ) ]
);
const main :Workerd.Worker = (
  modules = [ ( name = "worker.js", esModule = embed "worker.js" ) ],
  compatibilityDate = "2026-11-01",
  durableObjectNamespaces = [ ( className = "Counter", uniqueKey = "bench", enableSql = true ) ],
  durableObjectStorage = ( localDisk = "do" ),
  bindings = [ ( name = "COUNTER", durableObjectNamespace = "Counter" ) ]
);
`;

export const workerd: Peer = {
  name: "workerd",
  durability: "SQLite per object, committed before the answer",
  client: new URL("client.ts", import.meta.url),
  async start(dir) {
    const port = await freePort();
    const data = join(dir, "objects");
    await mkdir(data, { recursive: true });
    await cp(join(import.meta.dirname, "worker.js"), join(dir, "worker.js"));
    await writeFile(join(dir, "config.capnp"), config(port));
    const binary = peerFile("@cloudflare", "workerd-linux-64", "bin", "workerd");
    const args = ["serve", join(dir, "config.capnp"), `-ddo=${data}`];
    const server = new ServerProcess(binary, args, join(dir, "workerd.log"));
    const origin = `http://127.0.0.1:${port}`;
    await server.answers(`${origin}/value/ready`);
    return { origin, stop: () => server.stop() };
  },
};
