/**
 * The admin port: health, readiness and metrics for machines, a JSON API for the command line. Served by the control thread,
 * so that it answers while a worker is blocked, and says so.
 *
 * | route                   | answer                                                                    |
 * |-------------------------|---------------------------------------------------------------------------|
 * | GET /health             | the process lives: event-loop lag, silence of each worker                  |
 * | GET /ready              | 200 or 503 with a `ReadyReport`                                            |
 * | GET /metrics            | Prometheus text                                                            |
 * | GET /api/v1/status      | `HostStatus`                                                               |
 * | GET /api/v1/types       | `{ types: TypeSummary[] }`                                                 |
 * | GET /api/v1/actors      | `ActorsPage` of `?type&prefix&namespace&branch&limit&after`                |
 * | GET /api/v1/actor       | `InspectAnswer` of `?id`                                                   |
 * | GET /api/v1/pins        | `PinsAnswer` of `?priority&actor&node&degraded&limit`                      |
 * | GET /api/v1/extents     | `ActorExtentsReport` of `?id`                                              |
 * | GET /api/v1/segments    | `{ segments: SegmentsRow[] }`                                              |
 * | POST /api/v1/stop       | `{ graceMs? }` → 202; the process of a `pinion` host ends                   |
 * | POST /api/v1/reload     | loads the module anew                                                      |
 */
import { parseActorId, PinionError, shardOf, type Clock } from "@pinion/core";
import type { PinPriority } from "@pinion/storage";
import { metricsPage, type MetricSnapshot, type ProcessMetrics } from "../observability/index.ts";
import { compareKeys } from "./actor-listing.ts";
import type {
  AdminHost,
  AdminWorker,
  Degradation,
  HostFacts,
  QuarantineEntry,
  WorkerCondition,
} from "./admin-host.ts";
import type { HttpAnswer, HttpHandler, HttpRequest } from "./http-server.ts";
import type { EventLoopLag, LagReport } from "./event-loop-lag.ts";
import { blockedFinding, type Readiness } from "./readiness.ts";
import type { HostMemoryFacts, PinsQuery, WorkerPins } from "./memory-requests.ts";
import {
  ACTORS_PAGE_MAX,
  type ActorInspection,
  type ActorsPage,
  type ActorsQuery,
  type WorkerRequests,
  type WorkerStatus,
} from "./worker-requests.ts";

const ASK_TIMEOUT_MS = 3_000;
/** A page of metrics must not take longer than a scrape waits. */
const METRICS_TIMEOUT_MS = 500;
const ACTORS_PAGE_DEFAULT = 100;
/** The storage package's, written down once more: loading that would take this thread longer than all the rest. */
const PRIORITIES: Readonly<Record<PinPriority, true>> = Object.freeze({
  "tail-latency-critical": true,
  "query-critical": true,
  background: true,
  none: true,
});
const PINS_DEFAULT = 100;
const GRACE_MS_DEFAULT = 10_000;
const GRACE_MS_MAX = 600_000;

export interface HostStatus {
  readonly host: HostFacts;
  readonly uptimeMs: number;
  readonly degraded: readonly Degradation[];
  readonly blockedCalls: readonly QuarantineEntry[];
  readonly restarts: Readonly<Record<string, number>>;
  readonly reloadError: string | null;
  readonly workers: readonly {
    readonly worker: number;
    readonly condition: WorkerCondition;
    /** Null when the worker could not be asked. */
    readonly status: WorkerStatus | null;
  }[];
}

export interface PinsAnswer {
  readonly memory: HostMemoryFacts;
  readonly degraded: readonly Degradation[];
  readonly workers: readonly WorkerPins[];
}

export interface InspectAnswer {
  readonly actor: ActorInspection;
  /** Calls of this actor that have blocked a worker. */
  readonly blockedCalls: readonly QuarantineEntry[];
}

export interface HealthAnswer {
  readonly status: "ok";
  readonly pid: number;
  readonly uptimeMs: number;
  readonly eventLoopLag: LagReport;
  readonly workers: readonly {
    readonly worker: number;
    readonly condition: string;
    readonly silentMs: number;
  }[];
}

export interface AdminApiParts {
  readonly host: AdminHost;
  readonly readiness: Readiness;
  readonly lag: EventLoopLag;
  readonly clock: Clock;
  /** Of the control thread, and of the process. */
  readonly processMetrics: ProcessMetrics;
  readonly ownMetrics: () => readonly MetricSnapshot[];
}

export class AdminApi {
  readonly #parts: AdminApiParts;
  readonly #startedAtMs: number;
  /** The last answer of each worker, for when it does not answer. */
  readonly #lastMetrics = new Map<number, readonly MetricSnapshot[]>();

  constructor(parts: AdminApiParts) {
    this.#parts = parts;
    this.#startedAtMs = parts.clock.nowMs();
  }

  routes(): ReadonlyMap<string, HttpHandler> {
    return new Map<string, HttpHandler>([
      ["GET /health", () => ({ json: this.#health() })],
      ["GET /ready", () => this.#ready()],
      ["GET /metrics", () => this.#metrics()],
      ["GET /api/v1/status", async () => ({ json: await this.#status() })],
      ["GET /api/v1/types", async () => ({ json: { types: await this.#ask(0, "types", null) } })],
      ["GET /api/v1/actors", (request) => this.#actors(request)],
      ["GET /api/v1/actor", (request) => this.#inspect(request)],
      ["GET /api/v1/pins", (request) => this.#pins(request)],
      ["GET /api/v1/extents", (request) => this.#extents(request)],
      ["GET /api/v1/segments", () => this.#segments()],
      ["POST /api/v1/stop", (request) => this.#stop(request)],
      ["POST /api/v1/reload", () => this.#reload()],
    ]);
  }

  #uptimeMs(): number {
    return Math.round(this.#parts.clock.nowMs() - this.#startedAtMs);
  }

  #health(): HealthAnswer {
    const { host, lag } = this.#parts;
    return {
      status: "ok",
      pid: host.facts().pid,
      uptimeMs: this.#uptimeMs(),
      eventLoopLag: lag.report(),
      workers: host.workers.map((worker) => ({
        worker: worker.index,
        condition: worker.condition().state,
        silentMs: Math.round(worker.silenceMs()),
      })),
    };
  }

  async #ready(): Promise<HttpAnswer> {
    const report = await this.#parts.readiness.report();
    return { status: report.ready ? 200 : 503, json: report };
  }

  async #metrics(): Promise<HttpAnswer> {
    const { host, processMetrics, ownMetrics } = this.#parts;
    const workers = await Promise.all(host.workers.map((worker) => this.#metricsOf(worker)));
    const own = await processMetrics.snapshot({ thread: "control" });
    const page = await metricsPage([...workers, own, ownMetrics()]);
    return { text: page.text, contentType: page.contentType };
  }

  async #metricsOf(worker: AdminWorker): Promise<readonly MetricSnapshot[]> {
    const { index } = worker;
    try {
      if (worker.condition().state === "up")
        this.#lastMetrics.set(index, await worker.request("metrics", null, METRICS_TIMEOUT_MS));
    } catch {
      // What it said last is still true of what it had counted by then; `pinion_worker_up` says that it is old.
    }
    return this.#lastMetrics.get(index) ?? [];
  }

  async #status(): Promise<HostStatus> {
    const { host } = this.#parts;
    const workers = host.workers.map(async (worker) => ({
      worker: worker.index,
      condition: worker.condition(),
      status:
        worker.condition().state === "up"
          ? await worker.request("status", null, ASK_TIMEOUT_MS).catch(() => null)
          : null,
    }));
    return {
      host: host.facts(),
      uptimeMs: this.#uptimeMs(),
      degraded: host.degraded(),
      blockedCalls: host.blockedCalls(),
      restarts: host.restarts(),
      reloadError: host.reloadError(),
      workers: await Promise.all(workers),
    };
  }

  async #actors({ query }: HttpRequest): Promise<HttpAnswer> {
    const limit = Number(query.get("limit") ?? ACTORS_PAGE_DEFAULT);
    const asked: ActorsQuery = { limit, ...textsOf(query) };
    const pages = await Promise.all(
      this.#parts.host.workers.map(({ index }) => this.#ask(index, "actors", asked)),
    );
    return { json: mergePages(pages, Math.min(limit, ACTORS_PAGE_MAX)) };
  }

  async #inspect({ query }: HttpRequest): Promise<HttpAnswer> {
    const { id, worker } = this.#actorOf(query);
    const { host } = this.#parts;
    const actor = await this.#ask(worker, "inspect", { id });
    const blockedCalls = host.blockedCalls().filter((call) => call.actor === actor.id);
    return { json: { actor, blockedCalls } satisfies InspectAnswer };
  }

  /** The actor a request names, and the worker it lives on. @throws `invalid-argument`, `invalid-actor-id` */
  #actorOf(query: URLSearchParams): { readonly id: string; readonly worker: number } {
    const id = query.get("id");
    if (id === null) throw new PinionError("invalid-argument", "name the actor: ?id=type/key");
    const { type, key } = parseActorId(id);
    const shard = shardOf(type, key, this.#parts.host.facts().shardCount);
    return { id, worker: this.#workerOf(shard) };
  }

  async #pins({ query }: HttpRequest): Promise<HttpAnswer> {
    const asked = pinsQueryOf(query);
    const { host } = this.#parts;
    const workers = await Promise.all(
      host.workers.map(({ index }) => this.#ask(index, "pins", asked)),
    );
    const answer: PinsAnswer = { memory: host.facts().memory, degraded: host.degraded(), workers };
    return { json: answer };
  }

  async #extents({ query }: HttpRequest): Promise<HttpAnswer> {
    const { id, worker } = this.#actorOf(query);
    return { json: await this.#ask(worker, "extents", { id }) };
  }

  async #segments(): Promise<HttpAnswer> {
    const { workers } = this.#parts.host;
    const rows = await Promise.all(workers.map(({ index }) => this.#ask(index, "segments", null)));
    return { json: { segments: rows.flat() } };
  }

  /** Neighbouring shards share a worker (placement's even runs). */
  #workerOf(shard: number): number {
    const { host } = this.#parts;
    return Math.floor((shard * host.workers.length) / host.facts().shardCount);
  }

  async #stop({ body }: HttpRequest): Promise<HttpAnswer> {
    const { graceMs = GRACE_MS_DEFAULT } = body;
    if (typeof graceMs !== "number" || !(graceMs >= 0 && graceMs <= GRACE_MS_MAX)) {
      throw new PinionError("invalid-argument", `graceMs must be 0 to ${GRACE_MS_MAX}`);
    }
    await this.#parts.host.stop(graceMs);
    return { status: 202, json: { stopping: true, graceMs } };
  }

  async #reload(): Promise<HttpAnswer> {
    await this.#parts.host.reload();
    return { json: { reloaded: true } };
  }

  /** @throws `unavailable`, saying what the worker does instead of answering */
  async #ask<K extends keyof WorkerRequests>(
    index: number,
    kind: K,
    args: WorkerRequests[K]["args"],
  ): Promise<WorkerRequests[K]["result"]> {
    const worker = this.#parts.host.workers[index];
    if (worker === undefined) throw new PinionError("not-found", `there is no worker ${index}`);
    const condition = worker.condition();
    if (condition.state !== "up") throw notUp(index, condition);
    return worker.request(kind, args, ASK_TIMEOUT_MS);
  }
}

function notUp(index: number, condition: WorkerCondition): PinionError {
  const message =
    condition.state === "blocked"
      ? blockedFinding(index, condition.forMs, condition.turn).message
      : `worker ${index} is ${condition.state}${"reason" in condition ? `: ${condition.reason}` : ""}`;
  return new PinionError("unavailable", message, {
    details: { worker: index, condition: condition.state },
  });
}

type ActorFilter = Omit<ActorsQuery, "limit">;

function textsOf(query: URLSearchParams): ActorFilter {
  const names = ["type", "prefix", "namespace", "branch", "after"] as const;
  const given = names.flatMap((name) => {
    const value = query.get(name);
    return value === null || value === "" ? [] : [[name, value] as const];
  });
  return Object.fromEntries(given);
}

/** @throws `invalid-argument` */
function pinsQueryOf(query: URLSearchParams): PinsQuery {
  const priority = query.get("priority") ?? undefined;
  if (priority !== undefined && !Object.hasOwn(PRIORITIES, priority)) {
    throw new PinionError(
      "invalid-argument",
      `there is no priority "${priority}"; there are ${Object.keys(PRIORITIES).join(", ")}`,
    );
  }
  const node = query.get("node");
  const numaNode = node === null ? undefined : Number(node);
  if (numaNode !== undefined && !(Number.isInteger(numaNode) && numaNode >= 0))
    throw new PinionError("invalid-argument", `node must be the number of a NUMA node`);
  const actor = query.get("actor") ?? undefined;
  return {
    limit: Number(query.get("limit") ?? PINS_DEFAULT),
    degraded: query.get("degraded") === "true",
    ...(priority === undefined ? {} : { priority: priority as PinPriority }),
    ...(numaNode === undefined ? {} : { numaNode }),
    ...(actor === undefined ? {} : { actor }),
  };
}

/** Pages of several workers as one: each is in order, so the first `limit` of all are among them. */
function mergePages(pages: readonly ActorsPage[], limit: number): ActorsPage {
  const [only] = pages;
  if (pages.length === 1 && only !== undefined) return only;
  const all = pages.flatMap((page) => page.actors).sort((a, b) => compareKeys(a.cursor, b.cursor));
  const actors = all.slice(0, limit);
  const more = all.length > limit || pages.some((page) => page.next !== null);
  return { actors, next: more ? (actors.at(-1)?.cursor ?? null) : null };
}
