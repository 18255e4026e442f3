/**
 * A host whose actors are values: one worker in the caller's thread, the control plane in a thread of its own. Nothing can be
 * restarted here: the caller's thread is the caller's. A worker that fails takes the host out of service, and `closed` rejects.
 */
import { getHeapStatistics } from "node:v8";
import { Client, resolveClientOptions } from "@pinion/client";
import { PinionError, systemClock } from "@pinion/core";
import type { ActorDefinition } from "../definition/define-actor.ts";
import { LOOPBACK_ADDRESS, LoopbackConnector } from "../gateway/index.ts";
import { ClosedSignal } from "./closed-signal.ts";
import { ControlThread } from "./control-thread.ts";
import type { Host, StopOptions } from "./host.ts";
import { workerDir, workerPaths } from "./data-directory.ts";
import { HostBase } from "./host-base.ts";
import type { HostSettings } from "./host-settings.ts";
import { IndexStart } from "./index-start.ts";
import type { OpenWorker } from "./open-worker.ts";
import { createTurnBoard } from "./turn-board.ts";
import { Heartbeat, runWorker, type RunningWorker } from "./worker-agent.ts";

const VALUES = "values";

/** @throws typed errors of everything that is opened; nothing is left behind then */
export async function startValuesHost(
  settings: HostSettings,
  definitions: readonly ActorDefinition[],
): Promise<Host> {
  await using started = new AsyncDisposableStack();
  // Threads load their code while the data directory is opened here; the first is waited for first.
  const index = new IndexStart(workerPaths(workerDir(settings.dataDir, 0)).logIndex);
  started.defer(() => index.close());
  const control = new ControlThread();
  started.defer(() => control.close());
  const base = await HostBase.open(settings, VALUES, getHeapStatistics().heap_size_limit);
  started.defer(() => base.close());
  const host = new ValuesHost(base, control, index);
  started.defer(() => host.abandon());
  await host.start(definitions);
  started.move();
  return host;
}

class ValuesHost implements Host {
  readonly #base: HostBase;
  readonly #board = createTurnBoard();
  readonly #heartbeat = new Heartbeat(this.#board, systemClock);
  readonly #closed = new ClosedSignal();
  readonly #control: ControlThread;
  readonly #index: IndexStart;
  #running: RunningWorker | undefined;
  #client: Client | undefined;
  #connector: LoopbackConnector | undefined;
  #adminEndpoint = "";
  #stopping: Promise<void> | undefined;

  constructor(base: HostBase, control: ControlThread, index: IndexStart) {
    this.#base = base;
    this.#control = control;
    this.#index = index;
  }

  async start(definitions: readonly ActorDefinition[]): Promise<void> {
    const { settings, degraded, logger } = this.#base;
    const control = this.#control;
    // Both take their time, most of it to load code; on two cores side by side.
    const controlStarts = control.start(
      {
        facts: this.#base.facts(),
        degraded,
        admin: settings.admin,
        board: this.#board,
        logLevel: settings.logLevel,
        logFormat: settings.logFormat,
      },
      {
        probe: () => this.#answers.probe(null),
        metrics: () => this.#answers.metrics(null),
        status: () => this.#answers.status(null),
        types: () => this.#answers.types(null),
        actors: (query) => this.#answers.actors(query),
        inspect: (args) => this.#answers.inspect(args),
        pins: (query) => this.#answers.pins(query),
        extents: (args) => this.#answers.extents(args),
        segments: () => this.#answers.segments(null),
        stop: async ({ graceMs }) => {
          await this.stop({ graceMs });
          return null;
        },
        reload: async () => {
          await this.reload();
          return null;
        },
      },
      (error) => logger.error("health and metrics are not served any more", error),
    );
    const spec = this.#base.workerSpec(0, this.#board);
    const workerStarts = runWorker(
      spec,
      definitions,
      this.#heartbeat,
      (error) => this.#onFailure(error),
      this.#index,
    ).then((running) => (this.#running = running));
    // What was begun is over before its failure is told: whoever cleans up must find all of it.
    await Promise.allSettled([controlStarts, workerStarts]);
    this.#adminEndpoint = await controlStarts;
    const { open } = await workerStarts;
    if (open.worker.core.failure !== undefined) throw open.worker.core.failure;
    this.#client = await this.#openClient(open);
    await control.update({ state: "up" }, this.endpoints);
    await this.#base.announce(this.endpoints, this.#adminEndpoint);
  }

  async #openClient({ dispatcher, identity }: OpenWorker): Promise<Client> {
    const options = { dispatcher, identity, clock: systemClock };
    return Client.open(
      [LOOPBACK_ADDRESS],
      resolveClientOptions({ clientName: "host" }),
      (session) => (this.#connector = new LoopbackConnector(options, session)),
    );
  }

  get #answers(): RunningWorker["answers"] {
    if (this.#running === undefined)
      throw new PinionError("unavailable", "the worker has not started");
    return this.#running.answers;
  }

  get client(): Client {
    return this.#client as Client; // set before anybody gets the host
  }

  get endpoints(): readonly string[] {
    return this.#running === undefined ? [] : [this.#running.open.gateway.address];
  }

  get endpoint(): string {
    return this.endpoints[0] as string;
  }

  get adminEndpoint(): string {
    return this.#adminEndpoint;
  }

  get dataDir(): string {
    return this.#base.directory.dir;
  }

  get hostId(): string {
    return this.#base.facts().hostId;
  }

  get clusterId(): string {
    return this.#base.facts().clusterId;
  }

  get incarnation(): number {
    return this.#base.facts().incarnation;
  }

  get degraded(): Host["degraded"] {
    return this.#base.degraded;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  reload(): Promise<void> {
    return Promise.reject(
      new PinionError(
        "config-invalid",
        "this host was given its actors as values; only a module can be loaded anew",
        { details: { key: "actors" } },
      ),
    );
  }

  stop({ graceMs = this.#base.settings.stopGraceMs }: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    try {
      await this.#client?.close(graceMs);
      await this.#running?.open.stop(graceMs, "the host is stopping");
    } finally {
      await this.abandon();
      await this.#base.close();
      this.#closed.resolve();
    }
  }

  /** Ends what `start` began, without waiting for calls. */
  async abandon(): Promise<void> {
    this.#connector?.stop();
    await this.#client?.close(0);
    await this.#running?.open.stop(0);
    this.#running?.logger.flush();
    await this.#control.close();
    this.#heartbeat.stop();
  }

  #onFailure(error: PinionError): void {
    this.#closed.reject(error);
    const condition = { state: "failed", reason: error.message } as const;
    // A control thread that is gone has said so itself.
    this.#control.update(condition, this.endpoints).catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
