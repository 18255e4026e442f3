/**
 * The place of one worker in a host whose actors come from a module: the thread that fills it, and the next one when that
 * ends. Next states:
 *
 *     starting   → up | (start failed: the host does not start)
 *     up         → restarting (it failed, ended, or was replaced), reloading, stopped
 *     reloading  → up (with the new module, or still with the old one) | restarting
 *     restarting → up | restarting | failed (trying again cannot help)
 *
 * S1 two threads never have the worker's files open at the same time: a new one opens after the old one has ended.
 * S2 starts, reloads and the stop run one after the other.
 * S3 a module that does not load leaves the running worker as it is.
 */
import { messageOf, PinionError, type Clock, type Timer } from "@pinion/core";
import type { WorkerCondition, WorkerRequests } from "../admin/index.ts";
import type { RpcCaller } from "./message-rpc.ts";
import { RestartPolicy } from "./restart-policy.ts";
import { WorkerThread } from "./worker-thread.ts";
import type { WorkerSpec } from "./worker-spec.ts";

export interface SlotOptions {
  readonly index: number;
  /** URL. */
  readonly module: string;
  readonly heapBytes: number;
  readonly stopGraceMs: number;
  readonly clock: Clock;
  /** What the next thread opens with. @param port of the gateway: 0 the first time, then always the same */
  readonly spec: (board: SharedArrayBuffer, port: number | undefined) => WorkerSpec;
  readonly onCondition: (condition: WorkerCondition) => void;
  /** A thread has begun to fill the slot; its event loop is watched by this board. */
  readonly onBoard: (board: SharedArrayBuffer) => void;
  readonly onRestart: (error: PinionError, reason: string) => void;
  /** It will not be tried again. */
  readonly onGaveUp: (error: PinionError) => void;
}

const MIB = 1024 * 1024;
/**
 * Half of V8's default. A collection of the young generation copies what survives, and after writes all over a full worker that is
 * nearly everything: 5 ms at the 99th percentile with 200,000 actors instead of 21 (docs/decisions/0022).
 */
const YOUNG_GENERATION_MIB = 24;

export class WorkerSlot implements RpcCaller<WorkerRequests> {
  readonly #options: SlotOptions;
  readonly #policy = new RestartPolicy();
  #thread: WorkerThread | undefined;
  #address = "";
  #port: number | undefined;
  #upSinceMs = 0;
  #timer: Timer | undefined;
  #stopping = false;
  /** Why the present thread is being ended from outside. */
  #replaceReason: string | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: SlotOptions) {
    this.#options = options;
  }

  /** "host:port" of its gateway. */
  get address(): string {
    return this.#address;
  }

  /** @throws `module-failed`, and what `openWorker` throws; the slot is empty then */
  start(): Promise<void> {
    return this.#exclusive(() => this.#launch());
  }

  async request<K extends keyof WorkerRequests>(
    kind: K,
    args: WorkerRequests[K]["args"],
    timeoutMs: number,
  ): Promise<WorkerRequests[K]["result"]> {
    const thread = this.#thread;
    if (thread === undefined)
      throw new PinionError("unavailable", `worker ${this.#options.index} is not running`);
    return thread.rpc.request(kind, args, timeoutMs);
  }

  /** Ends the present thread, wherever it is, and starts another. */
  replace(reason: string): void {
    if (this.#thread === undefined || this.#replaceReason !== undefined) return;
    this.#replaceReason = reason;
    void this.#thread.terminate();
  }

  /**
   * Loads the module anew and, if that works, hands the worker over to it.
   * @throws `module-failed`, with the old one still running; what opening throws, with restarts going on
   */
  reload(): Promise<void> {
    return this.#exclusive(() => this.#reload());
  }

  /** Lets turns end for up to `graceMs`. Never rejects: what cannot stop in order is ended. */
  stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    return this.#exclusive(async () => {
      const thread = this.#thread;
      this.#thread = undefined;
      await thread?.stop(graceMs, "the host is stopping").catch(() => {});
    });
  }

  #exclusive<T>(step: () => Promise<T>): Promise<T> {
    const next = this.#last.then(step);
    this.#last = next.catch(() => {});
    return next;
  }

  #spawn(): WorkerThread {
    const { index, module, heapBytes, clock } = this.#options;
    const thread = new WorkerThread({
      index,
      module,
      resourceLimits: {
        maxOldGenerationSizeMb: Math.ceil(heapBytes / MIB),
        maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB,
      },
      clock,
      onFailed: (error) => this.#onFailed(thread, error),
      onEnded: (error) => this.#onEnded(thread, error),
    });
    return thread;
  }

  async #launch(): Promise<void> {
    this.#options.onCondition({ state: "starting" });
    const thread = this.#spawn();
    try {
      await thread.load();
      await this.#open(thread);
    } catch (error) {
      await thread.terminate();
      throw error;
    }
  }

  async #open(thread: WorkerThread): Promise<void> {
    const { clock, spec, onBoard, onCondition } = this.#options;
    onBoard(thread.board);
    this.#address = await thread.open(spec(thread.board, this.#port));
    // The same one ever after: clients come back to it.
    this.#port = Number(this.#address.slice(this.#address.lastIndexOf(":") + 1));
    this.#thread = thread;
    this.#replaceReason = undefined;
    this.#upSinceMs = clock.nowMs();
    onCondition({ state: "up" });
  }

  async #reload(): Promise<void> {
    const { index, stopGraceMs, onCondition } = this.#options;
    const old = this.#thread;
    if (old === undefined || this.#stopping)
      throw new PinionError("unavailable", `worker ${index} is not running`);
    const fresh = this.#spawn();
    try {
      await fresh.load();
    } catch (error) {
      await fresh.terminate();
      throw error; // S3
    }
    onCondition({ state: "reloading" });
    this.#thread = undefined; // its end is wanted
    await old.stop(stopGraceMs, "its actors are being replaced").catch(() => {});
    try {
      await this.#open(fresh); // S1
    } catch (error) {
      await fresh.terminate();
      this.#failed(error, 0, "reload failed");
      throw error;
    }
  }

  /** The log failed: the thread still runs, but its worker serves nobody. */
  #onFailed(thread: WorkerThread, error: PinionError): void {
    if (thread !== this.#thread) return;
    this.#thread = undefined;
    void thread.terminate().then(() => this.#failed(error, this.#ranMs(), "log failed"));
  }

  #onEnded(thread: WorkerThread, error: PinionError): void {
    if (thread !== this.#thread) return;
    this.#thread = undefined;
    const reason = this.#replaceReason;
    if (reason === undefined) this.#failed(error, this.#ranMs(), "thread ended");
    else this.#failed(new PinionError("unavailable", reason), this.#ranMs(), "event loop blocked");
  }

  #ranMs(): number {
    return this.#options.clock.nowMs() - this.#upSinceMs;
  }

  #failed(thrown: unknown, ranMs: number, reason: string): void {
    if (this.#stopping) return;
    const { index, clock, onCondition, onRestart, onGaveUp } = this.#options;
    const error =
      thrown instanceof PinionError
        ? thrown
        : new PinionError("internal", messageOf(thrown), { cause: thrown });
    const decision = this.#policy.afterFailure(error, ranMs);
    if (!decision.restart) {
      onCondition({ state: "failed", reason: error.message });
      onGaveUp(
        new PinionError(error.code, `worker ${index} cannot run: ${error.message}`, {
          cause: error,
          details: error.details,
        }),
      );
      return;
    }
    onRestart(error, reason);
    onCondition({ state: "restarting", reason: error.message, inMs: decision.delayMs });
    this.#timer = clock.setTimer(decision.delayMs, () => void this.#restart());
  }

  #restart(): Promise<void> {
    return this.#exclusive(async () => {
      if (this.#stopping || this.#thread !== undefined) return;
      try {
        await this.#launch();
      } catch (error) {
        this.#failed(error, 0, "start failed");
      }
    });
  }
}
