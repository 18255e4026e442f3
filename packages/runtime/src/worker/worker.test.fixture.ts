/** A worker alone on a simulated machine, for what a host for tests does not let through: faults at a start, poison, foreign ids. */
import {
  decodeError,
  decodeValue,
  encodeArgs,
  noTelemetry,
  seededRng,
  VirtualClock,
  type Telemetry,
} from "@pinion/core";
import {
  flushPolicy,
  openLog,
  SegmentStateStore,
  SimDisk,
  SimKv,
  type ExtentResidency,
  type SegmentedLog,
} from "@pinion/storage";
import type { ActorDefinition } from "../definition/define-actor.ts";
import type { IncomingCall, Outcome } from "../gateway/dispatcher.ts";
import { MajorityOfOne } from "../replication/replication.ts";
import { ActorWorker } from "./actor-worker.ts";
import { WORKER_DEFAULTS, type WorkerOptions } from "./worker-options.ts";

export interface Asked {
  readonly method: string;
  readonly args?: readonly unknown[];
  readonly type?: string;
  readonly key?: string;
  readonly session?: string;
  readonly seq?: number;
  readonly idempotencyKey?: string;
  readonly issuedAt?: number;
  readonly deadlineAtMs?: number;
  readonly traceparent?: string;
  /** Instead of `args`: as they came over the wire. */
  readonly rawArgs?: Uint8Array;
}

export interface Answered {
  readonly value: unknown;
  readonly code: string | undefined;
  readonly refused: Outcome["refused"];
}

const GENERATIONS = 2 ** 32;

export class WorkerFixture {
  readonly clock = new VirtualClock();
  readonly warnings: string[] = [];
  disk: SimDisk;
  index: SimKv;
  worker!: ActorWorker;
  /** Default: everything is in memory. */
  residency: ExtentResidency | undefined;
  log!: SegmentedLog;
  readonly #definitions: readonly ActorDefinition[];
  readonly #rng = seededRng(7);
  #seq = 0;

  constructor(definitions: readonly ActorDefinition[]) {
    this.#definitions = definitions;
    const { clock } = this;
    this.disk = new SimDisk({ rng: this.#rng.fork("disk"), clock, latencyMs: 1 });
    this.index = new SimKv({ rng: this.#rng.fork("index"), clock, latencyMs: 1 });
  }

  async start(
    options: Partial<WorkerOptions> = {},
    flush = flushPolicy.group,
    telemetry: Telemetry = noTelemetry,
  ): Promise<void> {
    const { clock } = this;
    this.log = await this.driven(
      openLog({
        disk: this.disk,
        kv: this.index,
        dir: "/log",
        clock,
        flush,
        shardCount: options.shardCount ?? 1,
        worker: 0,
        segmentBytes: 1024 * 1024,
      }),
    );
    this.worker = new ActorWorker(
      {
        clock,
        rng: this.#rng.fork("worker"),
        log: this.log,
        store: new SegmentStateStore({
          disk: this.disk,
          dir: "/segments",
          superblocks: this.index,
          newGeneration: () => this.#rng.below(GENERATIONS),
          clock,
          cachedPagesMax: 0,
        }),
        ...(this.residency && { residency: this.residency }),
        replication: new MajorityOfOne(this.log),
        telemetry,
        monitor: { enter: () => {}, resume: () => {}, leave: () => {} },
        logger: { warn: (message) => this.warnings.push(message) },
      },
      { ...WORKER_DEFAULTS, shardCount: 1, ...options },
      this.#definitions,
    );
    await this.driven(this.worker.start());
  }

  /** Ends the process, not the machine. */
  kill(): void {
    this.worker.abandon();
    this.disk = this.disk.kill();
    this.index = this.index.kill();
  }

  /** Lets time pass until `work` has settled. */
  async driven<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const end = work.finally(() => (settled = true));
    end.catch(() => {});
    for (let step = 0; !settled && step < 20_000; step++) await this.clock.advance(1);
    return end;
  }

  async ask(asked: Asked): Promise<Answered> {
    return this.driven(this.send(asked));
  }

  send(asked: Asked): Promise<Answered> {
    const { promise, resolve } = Promise.withResolvers<Answered>();
    const { session = "client", seq = ++this.#seq, args = [] } = asked;
    this.worker.submit({
      session: this.worker.session(session),
      seq,
      path: "",
      namespace: "default",
      branch: "main",
      type: asked.type ?? "thing",
      key: asked.key ?? "a",
      method: asked.method,
      args: asked.rawArgs ?? encodeArgs(args),
      deadlineAtMs: asked.deadlineAtMs ?? Infinity,
      attempt: 1,
      issuedAt: asked.issuedAt ?? this.clock.wallMs() * 1000,
      consistency: "linearizable",
      idempotencyKey: asked.idempotencyKey,
      idempotencyTtlMs: 60_000,
      traceparent: asked.traceparent,
      chain: [],
      sink: {
        reply: (_call: IncomingCall, outcome: Outcome) =>
          resolve({
            value: outcome.ok ? decodeValue(outcome.bytes) : undefined,
            code: outcome.ok ? undefined : decodeError(outcome.bytes).code,
            refused: outcome.refused,
          }),
      },
    });
    return promise;
  }
}
