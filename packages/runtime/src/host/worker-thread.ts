/**
 * One worker thread as the control side sees it, from its start to its end. Next states:
 *
 *     started → loaded → open → stopped
 *     any     → ended (it threw, ran out of memory, or was terminated)
 *
 * T1 `onEnded` comes exactly once, when the thread is gone and with it its files, port and threads of its own.
 */
import { Worker, type ResourceLimits } from "node:worker_threads";
import { decodeError, messageOf, PinionError, systemCode, type Clock } from "@pinion/core";
import type { WorkerRequests } from "../admin/index.ts";
import { RpcPeer, type RpcCaller } from "./message-rpc.ts";
import { threadFile } from "./thread-file.ts";
import { createTurnBoard } from "./turn-board.ts";
import type { WorkerSpec } from "./worker-spec.ts";

export interface WorkerThreadData {
  readonly index: number;
  /** URL. */
  readonly module: string;
  readonly board: SharedArrayBuffer;
}

/** What the thread answers. */
export type ThreadRequests = WorkerRequests & {
  load: { args: null; result: null };
  open: { args: WorkerSpec; result: { readonly address: string } };
  stop: { args: { readonly graceMs: number; readonly reason: string }; result: null };
};

/** What the thread says by itself. */
export type SlotEvents = {
  failed: { args: { readonly error: Uint8Array }; result: null };
};

export interface WorkerThreadOptions {
  readonly index: number;
  readonly module: string;
  readonly resourceLimits: ResourceLimits;
  readonly clock: Clock;
  /** The worker's log failed: it answers nothing any more. */
  readonly onFailed: (error: PinionError) => void;
  readonly onEnded: (error: PinionError) => void;
}

const LOAD_TIMEOUT_MS = 60_000;
/** Recovery reads the log behind the last checkpoint: bounded, but not by us. */
const OPEN_TIMEOUT_MS = 30 * 60_000;
/** Beyond the grace period: the last checkpoint. */
const STOP_EXTRA_MS = 15_000;

export class WorkerThread {
  readonly board = createTurnBoard();
  readonly #worker: Worker;
  readonly #peer: RpcPeer<ThreadRequests, SlotEvents>;
  #error: PinionError | undefined;

  constructor(options: WorkerThreadOptions) {
    const { index, module, resourceLimits, clock, onFailed, onEnded } = options;
    const workerData: WorkerThreadData = { index, module, board: this.board };
    this.#worker = new Worker(threadFile("#worker-entry"), {
      name: `pinion-worker-${index}`,
      workerData,
      resourceLimits,
    });
    this.#peer = new RpcPeer<ThreadRequests, SlotEvents>(this.#worker, `worker ${index}`, clock, {
      failed: ({ error }) => {
        onFailed(decodeError(error));
        return null;
      },
    });
    this.#worker.on("error", (error: unknown) => (this.#error = threadError(index, error)));
    this.#worker.on("exit", (code) => {
      this.#peer.end();
      onEnded(
        this.#error ??
          new PinionError("unavailable", `the thread of worker ${index} ended with code ${code}`),
      );
    });
  }

  /** @throws `module-failed` */
  async load(): Promise<void> {
    await this.#orEnd(this.#peer.request("load", null, LOAD_TIMEOUT_MS));
  }

  /** @throws what `openWorker` throws */
  async open(spec: WorkerSpec): Promise<string> {
    const { address } = await this.#orEnd(this.#peer.request("open", spec, OPEN_TIMEOUT_MS));
    return address;
  }

  get rpc(): RpcCaller<WorkerRequests> {
    return this.#peer;
  }

  /** Stops in order, or is terminated when that takes too long. */
  async stop(graceMs: number, reason: string): Promise<void> {
    try {
      await this.#peer.request("stop", { graceMs, reason }, graceMs + STOP_EXTRA_MS);
    } finally {
      await this.terminate();
    }
  }

  /** Ends the thread wherever it is, also in the middle of a loop. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  /** What a request fails with when the thread ended meanwhile: the thread's own error says more than "is gone". */
  async #orEnd<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw this.#error ?? error;
    }
  }
}

function threadError(index: number, error: unknown): PinionError {
  const stack = error instanceof Error && error.stack !== undefined ? error.stack : undefined;
  const message =
    systemCode(error) === "ERR_WORKER_OUT_OF_MEMORY"
      ? `worker ${index} ran out of memory: its actors need more heap than workerHeapBytes allows`
      : `an exception nobody caught ended worker ${index}: ${messageOf(error)}`;
  return new PinionError("unavailable", message, {
    cause: error,
    ...(stack === undefined ? {} : { remoteStack: stack }),
  });
}
