/**
 * The control plane in a thread of its own, as the thread that runs the actors sees it: for hosts whose actors are values. A
 * blocked event loop there is named from here.
 */
import { Worker } from "node:worker_threads";
import { PinionError, systemClock, type Clock } from "@pinion/core";
import type { Degradation, HostFacts, WorkerCondition, WorkerRequests } from "../admin/index.ts";
import type { LogFormat, LogLevel } from "../observability/index.ts";
import type { AdminSettings } from "./host-settings.ts";
import { RpcPeer, type RpcHandlers } from "./message-rpc.ts";
import { threadFile } from "./thread-file.ts";

export interface ControlSpec {
  readonly facts: HostFacts;
  readonly degraded: readonly Degradation[];
  readonly admin: AdminSettings;
  /** Of the one worker. */
  readonly board: SharedArrayBuffer;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** What the control thread answers. */
export type ControlRequests = {
  start: { args: ControlSpec; result: { readonly adminEndpoint: string } };
  update: {
    args: { readonly condition: WorkerCondition; readonly endpoints: readonly string[] };
    result: null;
  };
  close: { args: null; result: null };
};

/** What it asks the thread that runs the actors. */
export type ActorThreadRequests = WorkerRequests & {
  stop: { args: { readonly graceMs: number }; result: null };
  reload: { args: null; result: null };
};

const START_TIMEOUT_MS = 30_000;
const TIMEOUT_MS = 5_000;

export class ControlThread {
  readonly #clock: Clock;
  readonly #worker: Worker;
  #peer: RpcPeer<ControlRequests, ActorThreadRequests> | undefined;
  #onLost: ((error: PinionError) => void) | undefined;
  #lost: PinionError | undefined;
  #ended = false;

  /** Begins to load the thread's code, which takes longer than anything it does then. */
  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
    this.#worker = new Worker(threadFile("#control-entry"), {
      name: "pinion-control",
    });
    let cause: unknown;
    this.#worker.on("error", (error: unknown) => (cause = error));
    this.#worker.on("exit", (code) => {
      const error = new PinionError("internal", `the control thread ended with code ${code}`, {
        cause,
      });
      this.#lost = error;
      this.#peer?.end();
      if (!this.#ended) this.#onLost?.(error);
    });
  }

  /**
   * @param onLost told when the thread ends by itself: then nobody watches any more
   * @returns the admin endpoint @throws `port-in-use`, `config-invalid`, `io-error`, `internal` (it has ended)
   */
  async start(
    spec: ControlSpec,
    handlers: RpcHandlers<ActorThreadRequests>,
    onLost: (error: PinionError) => void,
  ): Promise<string> {
    if (this.#lost !== undefined) throw this.#lost;
    this.#onLost = onLost;
    this.#peer = new RpcPeer(this.#worker, "the control thread", this.#clock, handlers);
    const { adminEndpoint } = await this.#peer.request("start", spec, START_TIMEOUT_MS);
    return adminEndpoint;
  }

  /** Once it has started. */
  async update(condition: WorkerCondition, endpoints: readonly string[]): Promise<void> {
    await this.#peer?.request("update", { condition, endpoints }, TIMEOUT_MS);
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#ended = true;
    await this.#peer?.request("close", null, TIMEOUT_MS).catch(() => {});
    await this.#worker.terminate();
  }
}
