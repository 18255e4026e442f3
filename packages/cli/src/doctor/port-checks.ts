/** Whether the ports of a host are free, or its own. */
import { once } from "node:events";
import { createServer } from "node:net";
import { systemCode } from "@pinion/core";
import { readHostInfo, type HostOptions } from "@pinion/runtime";
import { ok, warn, type Finding } from "./finding.ts";

export async function portChecks(options: HostOptions): Promise<Finding[]> {
  const { dataDir, listenHost, port, adminHost, adminPort } = options;
  const found = await readHostInfo(dataDir).catch(() => undefined);
  const own = new Set(
    found?.running === true ? [...found.info.endpoints, found.info.adminEndpoint] : [],
  );
  return Promise.all([
    portCheck("gateway-port", listenHost, port, own, "--port 0"),
    portCheck("admin-port", adminHost, adminPort, own, "--admin-port 0"),
  ]);
}

async function portCheck(
  check: string,
  host: string,
  port: number,
  own: ReadonlySet<string>,
  fix: string,
): Promise<Finding> {
  const address = `${host}:${port}`;
  if (own.has(address)) return ok(check, `${address}, of the host that runs there`);
  const refusal = await tryListen(host, port);
  if (refusal === undefined) return ok(check, port === 0 ? "any free one" : `${address} is free`);
  const why =
    refusal === "EADDRINUSE" ? "another program has it" : `it cannot be listened on: ${refusal}`;
  return warn(check, address, why, `pinion start … ${fix}   (any free one)`);
}

/** @returns why not */
async function tryListen(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, "listening");
    return undefined;
  } catch (error) {
    return systemCode(error) ?? String(error);
  } finally {
    server.close();
  }
}
