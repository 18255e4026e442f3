/**
 * The benchmark's processes: servers and clients, each its own, asked over the IPC channel of `fork`.
 *
 * I1 a child ends with its parent: it exits when the channel closes.
 * I2 an error in a child rejects the question, or the questions to come, with what the child wrote.
 */
import { fork, type ChildProcess } from "node:child_process";

interface Question {
  readonly id: number;
  readonly body: unknown;
}

interface Answer {
  readonly id: number;
  readonly body?: unknown;
  readonly error?: string;
}

export interface ChildOptions {
  readonly execArgv?: readonly string[];
}

export class Child {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;
  #stderr = "";
  #gone: Error | undefined;

  /** @param module a file whose process calls `serveQuestions` */
  constructor(module: URL, args: readonly string[], { execArgv = [] }: ChildOptions = {}) {
    this.#process = fork(module, args, {
      execArgv: ["--conditions=source", ...profilerFlags(), ...execArgv],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4_000);
    });
    this.#process.on("message", (message) => this.#onAnswer(message as Answer));
    this.#process.once("exit", (code, signal) => {
      this.#gone = new Error(`${module.pathname} ended (${signal ?? code}): ${this.#stderr}`); // I2
      for (const { reject } of this.#waiting.values()) reject(this.#gone);
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  ask<T>(body: unknown): Promise<T> {
    if (this.#gone !== undefined) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#process.send({ id, body } satisfies Question);
    return waiting.promise as Promise<T>;
  }

  async stop(): Promise<void> {
    if (this.#gone !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#process.once("exit", () => resolve());
    this.#process.disconnect(); // I1
    await promise;
  }

  #onAnswer({ id, body, error }: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(body);
    else waiting?.reject(new Error(error));
  }
}

/** `BENCH_PROFILE_DIR` makes every process leave a profile there. */
function profilerFlags(): readonly string[] {
  const dir = process.env["BENCH_PROFILE_DIR"];
  return dir === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${dir}`];
}

/** In a child: answers questions until the parent goes, then runs `onEnd` and exits. */
export function serveQuestions(
  answer: (body: never) => Promise<unknown>,
  onEnd: () => Promise<void> | void,
): void {
  process.on("message", (message) => {
    const { id, body } = message as Question;
    answer(body as never).then(
      (result) => process.send?.({ id, body: result } satisfies Answer),
      (error: unknown) => {
        const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
        process.send?.({ id, error: text } satisfies Answer);
      },
    );
  });
  process.once("disconnect", () => {
    void Promise.resolve(onEnd()).finally(() => process.exit(0)); // I1
  });
}
