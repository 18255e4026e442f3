/**
 * The event loop's end of the LMDB thread: requests out, answers in, in order. Requests made in the same turn travel in
 * one message.
 *
 * I1 every request is answered once, or rejected when the thread is gone.
 * I2 the thread keeps the process alive only while it owes an answer.
 */
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { assert } from "@pinion/core";
import type { LmdbFailure, LmdbRequest, LmdbResponse, LmdbThreadData } from "./lmdb-messages.ts";
import type { PackedBytes } from "./packed-bytes.ts";

/** What the thread reported, as an error to be given a type by `LmdbKv`. */
export class LmdbError extends Error {
  readonly code: string | undefined;
  constructor({ message, code }: LmdbFailure) {
    super(message);
    this.code = code;
  }
}

interface Waiting {
  readonly resolve: (values: PackedBytes | undefined) => void;
  readonly reject: (error: Error) => void;
}

export class LmdbConnection {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  #outgoing: LmdbRequest[] = [];
  #gone: Error | undefined;

  constructor(path: string) {
    const workerData: LmdbThreadData = { path };
    // The source, or what was built from it: `imports` of this package's manifest.
    const file = createRequire(import.meta.url).resolve("#lmdb-thread");
    this.#worker = new Worker(file, { name: "pinion-kv", workerData });
    this.#worker.on("message", (responses: readonly LmdbResponse[]) => this.#receive(responses));
    this.#worker.on("error", (error: Error) => this.#lost(error));
    this.#worker.on("exit", () => this.#lost(new Error(`the thread of ${path} has ended`)));
    this.#worker.unref();
  }

  request(request: LmdbRequest): Promise<PackedBytes | undefined> {
    if (this.#gone) return Promise.reject(this.#gone);
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) this.#worker.ref();
      this.#waiting.push({ resolve, reject });
      if (this.#outgoing.length === 0) queueMicrotask(() => this.#send());
      this.#outgoing.push(request);
    });
  }

  #send(): void {
    const requests = this.#outgoing;
    this.#outgoing = [];
    const buffers = requests.flatMap(buffersOf);
    this.#worker.postMessage(requests, buffers);
  }

  #receive(responses: readonly LmdbResponse[]): void {
    for (const response of responses) {
      const waiting = this.#waiting.shift();
      assert(waiting, "an answer nobody waits for");
      if ("failure" in response) waiting.reject(new LmdbError(response.failure));
      else waiting.resolve(response.values);
    }
    if (this.#waiting.length === 0) this.#worker.unref();
  }

  #lost(error: Error): void {
    this.#gone ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(this.#gone);
  }
}

/** What changes hands with a request instead of being copied. */
function buffersOf(request: LmdbRequest): ArrayBuffer[] {
  if (request.kind === "get") return [request.keys.buffer];
  if (request.kind === "commit") return request.slices.map(({ writes }) => writes.buffer);
  return [];
}
