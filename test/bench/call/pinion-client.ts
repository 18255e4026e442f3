/** The subject's side of the load: the client as its users have it. */
import { connect } from "@pinion/client";
import type { ActorRef } from "@pinion/client";
import type { Counter } from "./counter.ts";
import type { LoadClient } from "./load.ts";

export async function open(target: string): Promise<LoadClient> {
  const client = await connect(target);
  const refs = new Map<string, ActorRef<typeof Counter>>();
  const refOf = (key: string): ActorRef<typeof Counter> => {
    let ref = refs.get(key);
    if (ref === undefined) refs.set(key, (ref = client.get<typeof Counter>("counter", key)));
    return ref;
  };
  return {
    increment: (key) => refOf(key).increment(1),
    value: (key) => refOf(key).value(),
    close: () => client.close(),
  };
}
