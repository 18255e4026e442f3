/**
 * Requests between two threads over a message port, both ways, with deadlines: the other thread may be blocked or gone, and
 * whoever asks must learn that instead of waiting.
 *
 * R1 every request ends: with the answer, its error, a timeout, or `unavailable` when the port closes.
 * R2 at most `PENDING_MAX` requests wait; more are refused, so that a blocked thread costs bounded memory.
 * R3 errors cross as the wire's errors: code, message, details, cause and stack of the side that threw.
 */
import { decodeError, encodeError, PinionError, type Clock, type Timer } from "@pinion/core";

const PENDING_MAX = 1_000;

/** Kinds of request a side answers, with their argument and result. Plain values only: they are cloned. */
export type RpcMethods = Record<string, { readonly args: unknown; readonly result: unknown }>;

export type RpcHandlers<M extends RpcMethods> = {
  readonly [K in keyof M]: (args: M[K]["args"]) => M[K]["result"] | Promise<M[K]["result"]>;
};

type Message =
  | { readonly type: "request"; readonly id: number; readonly kind: string; readonly args: unknown }
  | { readonly type: "result"; readonly id: number; readonly value: unknown }
  | { readonly type: "error"; readonly id: number; readonly error: Uint8Array };

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: PinionError) => void;
  readonly timer: Timer;
}

/** What `Theirs` answers, as seen by the other side. */
export interface RpcCaller<Theirs extends RpcMethods> {
  /** @throws `unavailable` after `timeoutMs`, or when the port is closed; what the other side threw */
  request<K extends keyof Theirs & string>(
    kind: K,
    args: Theirs[K]["args"],
    timeoutMs: number,
  ): Promise<Theirs[K]["result"]>;
}

/** What a `MessagePort`, `parentPort` and a `Worker` have in common. Their owner says when they are gone (`end`). */
export interface RpcPort {
  on(event: "message", listener: (message: unknown) => void): unknown;
  postMessage(message: unknown): void;
}

export class RpcPeer<
  Theirs extends RpcMethods,
  Mine extends RpcMethods = Record<string, never>,
> implements RpcCaller<Theirs> {
  readonly #port: RpcPort;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #handlers: RpcHandlers<Mine>;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #closed = false;

  /** @param name of the other side, for messages: "worker 0" */
  constructor(port: RpcPort, name: string, clock: Clock, handlers: RpcHandlers<Mine>) {
    this.#port = port;
    this.#name = name;
    this.#clock = clock;
    this.#handlers = handlers;
    port.on("message", (message) => this.#onMessage(message as Message));
  }

  get closed(): boolean {
    return this.#closed;
  }

  request<K extends keyof Theirs & string>(
    kind: K,
    args: Theirs[K]["args"],
    timeoutMs: number,
  ): Promise<Theirs[K]["result"]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#gone());
      if (this.#pending.size >= PENDING_MAX) {
        return reject(
          new PinionError(
            "overloaded",
            `${this.#name} has not answered ${this.#pending.size} requests`,
          ),
        );
      }
      const id = this.#nextId++;
      const timer = this.#clock.setTimer(timeoutMs, () => {
        this.#pending.delete(id);
        reject(
          new PinionError("unavailable", `${this.#name} did not answer within ${timeoutMs} ms`, {
            details: { request: kind, timeoutMs },
          }),
        );
      });
      this.#pending.set(id, { resolve, reject, timer });
      this.#port.postMessage({ type: "request", id, kind, args } satisfies Message);
    });
  }

  /** The port is closed, or the thread behind it gone: what waits fails, nothing is answered any more. */
  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    const error = this.#gone();
    for (const { timer, reject } of this.#pending.values()) {
      timer.cancel();
      reject(error);
    }
    this.#pending.clear();
  }

  #gone(): PinionError {
    return new PinionError("unavailable", `${this.#name} is gone`);
  }

  #onMessage(message: Message): void {
    if (this.#closed) return;
    if (message.type === "request") {
      void this.#answer(message.id, message.kind, message.args);
      return;
    }
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return; // it came too late
    this.#pending.delete(message.id);
    pending.timer.cancel();
    if (message.type === "result") pending.resolve(message.value);
    else pending.reject(decodeError(message.error));
  }

  async #answer(id: number, kind: string, args: unknown): Promise<void> {
    try {
      const handler = this.#handlers[kind];
      if (handler === undefined)
        throw new PinionError("unknown-method", `no such request: ${kind}`);
      this.#post({ type: "result", id, value: await handler(args) });
    } catch (error) {
      this.#post({ type: "error", id, error: encodeError(error) });
    }
  }

  #post(message: Message): void {
    if (!this.#closed) this.#port.postMessage(message);
  }
}
