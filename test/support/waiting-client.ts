/** A program that makes one call and ends: it must live until the answer, and no longer. argv: address. */
import { connect } from "@pinion/client";

const client = await connect(process.argv[2] as string, {
  reconnectDelayMsMax: 100,
  onEvent: (event) => {
    if (event.kind === "disconnected") console.log("disconnected");
  },
});
const answer = client.call("counter", "visits", "value");
console.log("called");
console.log(`answer ${String(await answer)}`);
await client.close();
