/** The door of the package. */
import { PinionError } from "@pinion/core";
import { Client } from "./client.ts";
import { resolveClientOptions, type ClientOptions } from "./options.ts";

/**
 * Connects to a cluster.
 * @param target "host:port" of one or more hosts; any one that answers tells the rest. A text may hold several, with commas.
 * @throws `unavailable` when none answered in time, `invalid-argument` for a target that is no address, `config-invalid`.
 */
export async function connect(
  target: string | readonly string[],
  options: ClientOptions = {},
): Promise<Client> {
  const seeds = parseTargets(target);
  const resolved = resolveClientOptions(options);
  // Loaded here: a host's own client, which is in the same process, needs none of it.
  const { GrpcConnector } = await import("./grpc-connection.ts");
  return Client.open(seeds, resolved, (session) => new GrpcConnector(session, resolved));
}

const ADDRESS = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})$/;

/** @throws `invalid-argument` */
export function parseTargets(target: string | readonly string[]): readonly string[] {
  const texts = typeof target === "string" ? target.split(",") : target;
  const seeds = [...new Set(texts.map((text) => text.trim()).filter((text) => text !== ""))];
  if (seeds.length === 0) throw invalidTarget("", "is empty");
  for (const seed of seeds) {
    const port = Number(ADDRESS.exec(seed)?.[1]);
    if (!(port >= 1 && port <= 65_535)) {
      throw invalidTarget(
        seed,
        'must look like "host:port", for instance 127.0.0.1:7070 or [::1]:7070',
      );
    }
  }
  return seeds;
}

function invalidTarget(target: string, rule: string): PinionError {
  return new PinionError("invalid-argument", `target ${JSON.stringify(target)} ${rule}`, {
    details: { target },
  });
}
