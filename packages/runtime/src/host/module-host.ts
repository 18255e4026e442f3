/**
 * A host whose actors come from a module: they run in worker threads, control and supervision in the caller's thread.
 *
 * H1 a worker whose event loop is blocked for `blockedRestartMs` is replaced; the call in it is counted first, durably, and
 *    refused for good the second time (blocked-calls.ts).
 */
import { connect, type Client } from "@pinion/client";
import { systemClock } from "@pinion/core";
import type { WorkerCondition } from "../admin/index.ts";
import { STRIKES } from "./blocked-calls.ts";
import { ClosedSignal } from "./closed-signal.ts";
import { ControlPlane } from "./control-plane.ts";
import type { BlockedState } from "./heartbeat-watch.ts";
import type { Host, StopOptions } from "./host.ts";
import { HostBase } from "./host-base.ts";
import type { HostSettings } from "./host-settings.ts";
import { moduleName } from "./load-definitions.ts";
import { WorkerSlot } from "./worker-slot.ts";

/** @param module URL @throws typed errors of everything that is opened; nothing is left behind then */
export async function startModuleHost(settings: HostSettings, module: string): Promise<Host> {
  await using started = new AsyncDisposableStack();
  const base = await HostBase.open(settings, moduleName(module), settings.workerHeapBytes);
  started.defer(() => base.close());
  const host = new ModuleHost(base, module);
  started.defer(() => host.abandon(0));
  await host.start();
  started.move();
  return host;
}

class ModuleHost implements Host {
  readonly #base: HostBase;
  readonly #closed = new ClosedSignal();
  readonly #slots: readonly WorkerSlot[];
  readonly #control: ControlPlane;
  /** Workers whose replacement is under way. */
  readonly #replacing = new Set<number>();
  #client: Client | undefined;
  #adminEndpoint = "";
  #stopping: Promise<void> | undefined;

  constructor(base: HostBase, module: string) {
    const { settings, degraded, logger } = base;
    this.#base = base;
    this.#slots = Array.from({ length: settings.workers }, (_, index) =>
      this.#makeSlot(index, module),
    );
    this.#control = new ControlPlane({
      facts: base.facts(),
      degraded,
      admin: settings.admin,
      links: this.#slots,
      logger,
      actions: {
        // The answer must leave before the admin port closes: nobody waits for the end here.
        stop: async (graceMs) =>
          void this.stop({ graceMs }).catch((error: unknown) =>
            logger.error("the host did not stop in order", error),
          ),
        reload: () => this.reload(),
        onBlocked: (worker, state) => this.#onBlocked(worker, state),
      },
    });
    this.#control.setBlockedCalls(base.blockedCalls.all());
  }

  #makeSlot(index: number, module: string): WorkerSlot {
    const { settings, logger } = this.#base;
    return new WorkerSlot({
      index,
      module,
      heapBytes: settings.workerHeapBytes,
      stopGraceMs: settings.stopGraceMs,
      clock: systemClock,
      spec: (board, port) => this.#base.workerSpec(index, board, port),
      onCondition: (condition) => this.#onCondition(index, condition),
      onBoard: (board) => this.#control.watch(index, board),
      onRestart: (error, reason) => {
        logger.error(`worker ${index} is started again: ${reason}`, error);
        this.#control.restarted(index, reason);
      },
      onGaveUp: (error) => {
        logger.error(`worker ${index} is not started again`, error);
        this.#closed.reject(error);
      },
    });
  }

  async start(): Promise<void> {
    this.#adminEndpoint = await this.#control.start();
    await Promise.all(this.#slots.map((slot) => slot.start()));
    this.#client = await connect(this.endpoints, { clientName: "host" });
    this.#control.setEndpoints(this.endpoints);
    await this.#base.announce(this.endpoints, this.#adminEndpoint);
  }

  get client(): Client {
    return this.#client as Client; // set before anybody gets the host
  }

  get endpoints(): readonly string[] {
    return this.#slots.map((slot) => slot.address);
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

  async reload(): Promise<void> {
    try {
      for (const slot of this.#slots) await slot.reload();
      this.#control.setReloadError(null);
    } catch (error) {
      this.#control.setReloadError(error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  stop({ graceMs = this.#base.settings.stopGraceMs }: StopOptions = {}): Promise<void> {
    this.#stopping ??= this.#stop(graceMs);
    return this.#stopping;
  }

  async #stop(graceMs: number): Promise<void> {
    try {
      await this.abandon(graceMs);
    } finally {
      await this.#base.close();
      this.#closed.resolve();
    }
  }

  /** Ends what `start` began. */
  async abandon(graceMs: number): Promise<void> {
    await this.#client?.close(graceMs);
    await Promise.all(this.#slots.map((slot) => slot.stop(graceMs)));
    await this.#control.close();
  }

  #onCondition(index: number, condition: WorkerCondition): void {
    this.#control.setCondition(index, condition);
    if (condition.state === "up") this.#replacing.delete(index);
  }

  /** H1 */
  #onBlocked(index: number, state: BlockedState): void {
    if (state.forMs < this.#base.settings.blockedRestartMs || this.#replacing.has(index)) return;
    this.#replacing.add(index);
    void this.#replace(index, state);
  }

  async #replace(index: number, { forMs, turn }: BlockedState): Promise<void> {
    const { blockedCalls, logger } = this.#base;
    let what = "outside of any turn";
    if (turn !== undefined) what = `in ${turn.method} of ${turn.actor}`;
    if (turn?.exact === true) {
      try {
        const { times } = await blockedCalls.count(turn);
        if (times >= STRIKES) what += `; that call is not run again`;
        this.#control.setBlockedCalls(blockedCalls.all());
      } catch (error) {
        // The worker must go on all the same; the call is counted when it blocks the next one.
        logger.error("a call that blocked a worker could not be noted", error);
      }
    }
    this.#slots[index]?.replace(`its event loop was blocked for ${forMs} ms ${what}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
