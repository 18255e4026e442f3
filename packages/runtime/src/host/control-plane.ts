/**
 * The control plane of a host: watches the workers' event loops, measures readiness, serves the admin port. It runs on a
 * thread that runs no actor: the caller's when the actors come from a module, one of its own when they are values.
 *
 * C1 nothing here waits for a worker without a bound.
 */
import { systemClock, type Clock } from "@pinion/core";
import {
  AdminApi,
  blockedFinding,
  EventLoopLag,
  HttpServer,
  Readiness,
  type AdminHost,
  type AdminWorker,
  type BlockedTurn,
  type Degradation,
  type HostFacts,
  type QuarantineEntry,
  type WorkerCondition,
  type WorkerRequests,
} from "../admin/index.ts";
import { MetricSet, ProcessMetrics, type HostLogger } from "../observability/index.ts";
import { callKeyText } from "../records/call-key.ts";
import { actorText, type BlockedCall, STRIKES } from "./blocked-calls.ts";
import { HeartbeatWatch, type BlockedState } from "./heartbeat-watch.ts";
import type { AdminSettings } from "./host-settings.ts";
import type { RpcCaller } from "./message-rpc.ts";

/** What the control plane has its owner do. */
export interface ControlActions {
  stop(graceMs: number): Promise<void>;
  reload(): Promise<void>;
  /** At every check while a worker is blocked. */
  onBlocked(worker: number, state: BlockedState): void;
}

export interface ControlPlaneParts {
  /** `adminEndpoint` is filled in here. */
  readonly facts: HostFacts;
  readonly degraded: readonly Degradation[];
  readonly admin: AdminSettings;
  /** One per worker, in order. */
  readonly links: readonly RpcCaller<WorkerRequests>[];
  readonly actions: ControlActions;
  readonly logger: HostLogger;
  readonly clock?: Clock;
}

export class ControlPlane implements AdminHost {
  readonly workers: readonly AdminWorker[];
  readonly #actions: ControlActions;
  readonly #logger: HostLogger;
  readonly #watch: HeartbeatWatch;
  readonly #readiness: Readiness;
  readonly #lag: EventLoopLag;
  readonly #server: HttpServer;
  readonly #metrics = new MetricSet();
  readonly #conditions: WorkerCondition[];
  readonly #degraded: readonly Degradation[];
  readonly #restarts: Record<string, number> = {};
  #facts: HostFacts;
  #blockedCalls: readonly BlockedCall[] = [];
  #reloadError: string | null = null;

  /** @throws `config-invalid` */
  constructor(parts: ControlPlaneParts) {
    const { facts, degraded, admin, links, actions, logger, clock = systemClock } = parts;
    this.#facts = facts;
    this.#degraded = degraded;
    this.#actions = actions;
    this.#logger = logger;
    this.#conditions = links.map(() => ({ state: "starting" }));
    this.#watch = new HeartbeatWatch(clock, {
      onBlocked: (worker, state) => this.#blocked(worker, state),
      onStillBlocked: (worker, state) => this.#actions.onBlocked(worker, state),
      onUnblocked: (worker, blockedMs) =>
        logger.warn(`the event loop of worker ${worker} turns again`, undefined, { blockedMs }),
    });
    this.workers = links.map((link, index) => this.#adminWorker(index, link));
    this.#readiness = new Readiness(this, clock, (worker, tookMs) =>
      this.#metrics
        .histogram("pinion_probe_seconds", "Time to commit a record that says nothing", {
          worker: String(worker),
        })
        .record(tookMs / 1000),
    );
    this.#lag = new EventLoopLag(clock);
    const api = new AdminApi({
      host: this,
      readiness: this.#readiness,
      lag: this.#lag,
      clock,
      processMetrics: new ProcessMetrics("process"),
      ownMetrics: () => this.#metrics.snapshot(),
    });
    this.#server = new HttpServer({ ...admin, routes: api.routes() });
    this.#observe();
  }

  #adminWorker(index: number, link: RpcCaller<WorkerRequests>): AdminWorker {
    return {
      index,
      condition: () => this.#conditionOf(index),
      silenceMs: () => this.#watch.silenceMs(index),
      request: (kind, args, timeoutMs) => link.request(kind, args, timeoutMs),
    };
  }

  #conditionOf(worker: number): WorkerCondition {
    const condition = this.#conditions[worker] ?? { state: "failed", reason: "no such worker" };
    const blocked = this.#watch.blocked(worker);
    // Recovery and hand-over have their own names; only an open worker is expected to turn.
    if (blocked === undefined || condition.state !== "up") return condition;
    return { state: "blocked", forMs: blocked.forMs, turn: turnOf(blocked) };
  }

  // --- AdminHost --------------------------------------------------------------------------------------------------------

  facts(): HostFacts {
    return this.#facts;
  }

  degraded(): readonly Degradation[] {
    return this.#degraded;
  }

  blockedCalls(): readonly QuarantineEntry[] {
    return this.#blockedCalls.map(({ key, actor, method, times, lastMs }) => ({
      key,
      actor: actorText(actor),
      method,
      times,
      last: new Date(lastMs).toISOString(),
      quarantined: times >= STRIKES,
    }));
  }

  reloadError(): string | null {
    return this.#reloadError;
  }

  restarts(): Readonly<Record<string, number>> {
    return this.#restarts;
  }

  stop(graceMs: number): Promise<void> {
    return this.#actions.stop(graceMs);
  }

  reload(): Promise<void> {
    return this.#actions.reload();
  }

  // --- what the owner says ----------------------------------------------------------------------------------------------

  setCondition(worker: number, condition: WorkerCondition): void {
    this.#conditions[worker] = condition;
    if (condition.state === "up") this.#readiness.probeNow();
  }

  setEndpoints(endpoints: readonly string[]): void {
    this.#facts = { ...this.#facts, endpoints };
  }

  setBlockedCalls(calls: readonly BlockedCall[]): void {
    this.#blockedCalls = calls;
  }

  setReloadError(message: string | null): void {
    this.#reloadError = message;
  }

  restarted(worker: number, reason: string): void {
    this.#restarts[reason] = (this.#restarts[reason] ?? 0) + 1;
    const labels = { worker: String(worker), reason };
    this.#metrics.counter("pinion_worker_restarts_total", "Workers started again", labels).add(1);
  }

  /** Watches a worker's event loop by this board from now on. */
  watch(worker: number, board: SharedArrayBuffer): void {
    this.#watch.watch(worker, board);
  }

  forget(worker: number): void {
    this.#watch.forget(worker);
  }

  // --- life -------------------------------------------------------------------------------------------------------------

  /** @returns the admin endpoint @throws `port-in-use`, `io-error` */
  async start(): Promise<string> {
    await this.#server.start();
    this.#facts = { ...this.#facts, adminEndpoint: this.#server.address };
    this.#watch.start();
    this.#lag.start();
    this.#readiness.start();
    return this.#server.address;
  }

  async close(): Promise<void> {
    this.#readiness.stop();
    this.#watch.stop();
    this.#lag.stop();
    await this.#server.stop();
  }

  #blocked(worker: number, state: BlockedState): void {
    if (this.#conditions[worker]?.state === "up")
      this.#logger.error(blockedFinding(worker, state.forMs, turnOf(state)).message);
    this.#actions.onBlocked(worker, state);
  }

  #observe(): void {
    const { workers } = this;
    for (const worker of workers) {
      const labels = { worker: String(worker.index) };
      this.#metrics.observe(
        "pinion_worker_up",
        "1 when the worker serves and its event loop turns",
        () => (worker.condition().state === "up" ? 1 : 0),
        labels,
      );
      this.#metrics.observe(
        "pinion_worker_silence_seconds",
        "Time since the worker's event loop was last seen to turn",
        () => worker.silenceMs() / 1000,
        labels,
      );
    }
    this.#metrics.observe(
      "pinion_host_degradations",
      "Things that work worse than they could; /ready names them",
      () => this.#degraded.length,
    );
    this.#metrics.observe(
      "pinion_quarantined_calls",
      "Calls that blocked a worker twice and are not run again",
      () => this.blockedCalls().filter((call) => call.quarantined).length,
    );
  }
}

function turnOf({ turn }: BlockedState): BlockedTurn | null {
  if (turn === undefined) return null;
  const { actor, method, call, exact } = turn;
  const name = call === undefined ? "" : callKeyText(call);
  return { actor: actorText(actor), method, call: name, exact };
}
