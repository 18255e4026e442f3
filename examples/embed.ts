/**
 * A host inside your own program, and a client in it and beside it.
 *
 *     npm run example examples/embed.ts
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@pinion/client";
import { startHost } from "@pinion/runtime";
import { Counter } from "./counter.ts";

const dataDir = await mkdtemp(join(tmpdir(), "pinion-embed-"));

// Ports 0: any that are free. A program of its own would leave them out, and keep its data directory.
const host = await startHost({ actors: [Counter], dataDir, port: 0, adminPort: 0 });

// In the same process, without a network in between:
console.log("in the host:     ", await host.client.get(Counter, "visits").increment(3));

// In any other process. The definition's type is enough: `import type { Counter }` and its name.
const client = await connect(host.endpoint);
console.log("over the network:", await client.get<typeof Counter>("counter", "visits").increment());
await client.close();

await host.stop();
await rm(dataDir, { recursive: true });
