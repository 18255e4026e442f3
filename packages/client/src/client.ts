/**
 * The client of a Pinion cluster. One per process is enough: it multiplexes any number of calls over one stream per worker.
 */
import {
  DEFAULT_NAMESPACE,
  MAIN_BRANCH,
  PinionError,
  type ActorType,
  type ActorTypeMessage,
} from "@pinion/core";
import { actorIdOf, makeActorRef, type ActorRef } from "./actor-ref.ts";
import { CallDesk, type ActorCallOptions, type PreparedOptions } from "./call-desk.ts";
import { prepareOptions } from "./call-options.ts";
import { CallTarget } from "./call-target.ts";
import { ClusterWatch } from "./cluster-watch.ts";
import { ClientSession } from "./client-session.ts";
import type { ClientStats } from "./client-stats.ts";
import type { Connector } from "./connection.ts";
import type { ResolvedClientOptions } from "./options.ts";
import { ProcessHold } from "./process-hold.ts";
import { Router } from "./router.ts";
import { WorkerLink } from "./worker-link.ts";

const CLOSE_GRACE_MS = 5_000;

/** One branch of one namespace: where references come from. */
export class ActorSpace {
  readonly #desk: CallDesk;
  readonly #prepared: PreparedOptions;
  readonly #namespace: string;
  readonly #branch: string;

  protected constructor(
    desk: CallDesk,
    prepared: PreparedOptions,
    namespace: string,
    branch: string,
  ) {
    this.#desk = desk;
    this.#prepared = prepared;
    this.#namespace = namespace;
    this.#branch = branch;
  }

  /**
   * A reference to an actor. Costs no network; the actor need not exist.
   * @param type the definition, or its name with the definition's type: `get<typeof Airport>("airport", "JFK")`.
   * @throws `invalid-actor-id`
   */
  get<T extends ActorType>(type: T, key: string): ActorRef<T>;
  get<T extends ActorType>(type: T["name"], key: string): ActorRef<T>;
  get<T extends ActorType>(type: T | string, key: string): ActorRef<T> {
    const name = typeof type === "string" ? type : type.name;
    return makeActorRef<T>(
      this.#desk,
      new CallTarget(name, key, this.#namespace, this.#branch),
      this.#prepared,
    );
  }

  /**
   * Calls a method by name, for callers that know it only at run time.
   * @throws what the call fails with; `invalid-actor-id`, `invalid-argument`
   */
  async call(
    type: string,
    key: string,
    method: string,
    args: readonly unknown[] = [],
    options: ActorCallOptions = {},
  ): Promise<unknown> {
    const target = new CallTarget(type, key, this.#namespace, this.#branch);
    return this.#desk.call(
      target,
      method,
      args,
      prepareOptions(options, this.#desk.defaultTimeoutMs),
    );
  }

  /** @throws `invalid-actor-id` when a reference is made from it. */
  namespace(name: string): ActorSpace {
    return new ActorSpace(this.#desk, this.#prepared, name, MAIN_BRANCH);
  }

  /** A branch of this namespace. */
  branch(name: string): ActorSpace {
    return new ActorSpace(this.#desk, this.#prepared, this.#namespace, name);
  }
}

export class Client extends ActorSpace {
  readonly #session: ClientSession;
  readonly #desk: CallDesk;
  #closing: Promise<void> | undefined;

  private constructor(session: ClientSession, desk: CallDesk) {
    super(desk, prepareOptions({}, desk.defaultTimeoutMs), DEFAULT_NAMESPACE, MAIN_BRANCH);
    this.#session = session;
    this.#desk = desk;
  }

  /**
   * Opens a client over any kind of connection; `connect` is this over gRPC.
   * @throws `unavailable` when no seed answered within `connectTimeoutMs`, or what a host refused us with.
   */
  static async open(
    seeds: readonly string[],
    options: ResolvedClientOptions,
    connectorOf: (session: ClientSession) => Connector,
  ): Promise<Client> {
    const session = new ClientSession(options.clock);
    const connector = connectorOf(session);
    const link = (address: string): WorkerLink =>
      new WorkerLink(address, session, connector, options, desk, watch);
    const router = new Router(seeds, link);
    const desk = new CallDesk(session, options, router);
    const watch = new ClusterWatch(desk, router, session, options.onEvent);
    const client = new Client(session, desk);
    const hold = new ProcessHold();
    hold.set(true);
    try {
      await firstWelcome(router, watch, options);
    } catch (e) {
      await client.close(0);
      throw e;
    } finally {
      hold.set(false);
    }
    return client;
  }

  /** Actor types and methods the host serves, as it last said. */
  get actorTypes(): readonly ActorTypeMessage[] {
    return this.#desk.router.types;
  }

  stats(): ClientStats {
    const { counters, router } = this.#desk;
    return {
      sessionId: this.#session.id,
      clusterId: router.clusterId,
      calls: counters.calls,
      succeeded: counters.succeeded,
      failed: Object.fromEntries(counters.failed),
      retries: counters.retries,
      lateReplies: counters.lateReplies,
      disconnects: counters.disconnects,
      pending: this.#desk.pending,
      latencyMs: {
        p50: counters.latency.quantile(0.5),
        p99: counters.latency.quantile(0.99),
        max: counters.latency.maxMs,
      },
      connections: [...router.links].map((link) => ({
        address: link.address,
        state: link.state,
        waiting: link.waitingCount,
      })),
    };
  }

  /**
   * Takes no new calls, waits up to `graceMs` (default 5,000) for the pending ones, then closes. Calls that are still
   * pending fail: `outcome-unknown` if they were sent, else `cancelled`. May be called again.
   */
  close(graceMs = CLOSE_GRACE_MS): Promise<void> {
    this.#closing ??= this.#desk.close(graceMs).then(() => {
      for (const link of this.#desk.router.links) link.close();
    });
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Asks all seeds, again and again, until one has said what the cluster is. */
function firstWelcome(
  router: Router,
  watch: ClusterWatch,
  options: ResolvedClientOptions,
): Promise<void> {
  const links = router.seeds.map((seed) => router.linkTo(seed));
  return new Promise((resolve, reject) => {
    const finish = (error: PinionError | undefined): void => {
      timer.cancel();
      watch.onNews = undefined;
      if (error === undefined) resolve();
      else reject(error);
    };
    const timer = options.clock.setTimer(options.connectTimeoutMs, () =>
      finish(noAnswer(links, options.connectTimeoutMs)),
    );
    watch.onNews = () => {
      if (router.shardCount > 0) finish(undefined);
      // Where every host has refused us for good there is nothing to wait for.
      else if (links.every((link) => link.lastError?.retry === "never"))
        finish(links[0]?.lastError);
    };
    for (const link of links) link.connect();
  });
}

function noAnswer(links: readonly WorkerLink[], timeoutMs: number): PinionError {
  const each = links.map((link) => link.lastError?.message ?? `${link.address}: no answer`);
  return new PinionError(
    "unavailable",
    `no Pinion host answered within ${timeoutMs} ms: ${each.join("; ")}`,
    {
      details: { addresses: links.map((link) => link.address), timeoutMs },
      cause: links.find((link) => link.lastError !== undefined)?.lastError,
    },
  );
}

export { actorIdOf };
