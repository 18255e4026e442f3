/** A real gateway on a free port, with a fake dispatcher behind it, and clients that are closed at the end of the test. */
import { connect, type Client, type ClientOptions } from "@pinion/client";
import { PinionError, systemClock } from "@pinion/core";
import { Gateway, type GatewayIdentity, type GatewayOptions } from "@pinion/runtime";
import { onTestFinished } from "vitest";
import { FakeDispatcher, type CallHandler } from "./fake-dispatcher.ts";

export const IDENTITY: GatewayIdentity = {
  clusterId: "test-cluster",
  host: "host-a",
  incarnation: 1,
  worker: 0,
  hostVersion: "0.0.0",
  sessionExpiryMs: 600_000,
  shardMap: { shardCount: 16, workers: [], owners: [], terms: [], version: 1 },
};

export interface TestGateway {
  readonly gateway: Gateway;
  readonly dispatcher: FakeDispatcher;
  readonly address: string;
}

export async function startGateway(
  handler: CallHandler,
  options: Partial<GatewayOptions> & { readonly identityNow?: () => GatewayIdentity } = {},
): Promise<TestGateway> {
  const { identityNow, ...rest } = options;
  const dispatcher =
    (rest.dispatcher as FakeDispatcher | undefined) ?? new FakeDispatcher(systemClock, handler);
  const gateway = new Gateway({ identity: identityNow ?? (() => IDENTITY), ...rest, dispatcher });
  await gateway.start();
  onTestFinished(() => gateway.stop());
  return { gateway, dispatcher, address: gateway.address };
}

export async function connectTo(
  target: string | readonly string[],
  options: ClientOptions = {},
): Promise<Client> {
  const client = await connect(target, { reconnectDelayMsMax: 200, ...options });
  onTestFinished(() => client.close(0));
  return client;
}

/** What the promise rejects with, which must be one of ours. */
export async function rejection(promise: Promise<unknown>): Promise<PinionError> {
  try {
    await promise;
  } catch (e) {
    if (e instanceof PinionError) return e;
    throw e;
  }
  throw new Error("expected a rejection");
}

/** A promise and its resolver, for awaiting what a callback tells. */
export function signalled<T = void>(): {
  readonly done: Promise<T>;
  readonly resolve: (value: T) => void;
} {
  const { promise, resolve } = Promise.withResolvers<T>();
  return { done: promise, resolve };
}
