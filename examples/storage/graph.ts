/** `graph`: nodes and the edges between them. */
import { graph, openStore } from "@pinion/storage";

const store = await openStore({ dir: process.env["PINION_DATA_DIR"] ?? "./data" });
const network = await store.open("network", { routes: graph({ weights: true }) });

await network.update(async ({ routes }) => {
  const [jfk, lax, hnl] = [
    await routes.addNode("JFK"),
    await routes.addNode("LAX"),
    await routes.addNode("HNL"),
  ];
  await routes.addEdge(jfk, lax, { weight: 3983 });
  await routes.addEdge(lax, hnl, { weight: 4113 });
});

await network.read(async ({ routes }) => {
  const start = await routes.nodeOf("JFK");
  if (start === undefined) return;
  for (const { depth, nodes } of (await routes.bfs(start)).hops)
    for (const node of nodes) console.log(`${await routes.keyOf(node)}: ${depth} flights`);
});

await store.close();
