/** A client process of the kill test, and what it says. */
import { createInterface } from "node:readline";
import { Program } from "../program.ts";
import type { Said } from "./kill-messages.ts";

export interface ClientRequest {
  readonly endpoint: string;
  readonly name: string;
  readonly seed: number;
  /** Calls at once. */
  readonly concurrency: number;
  /** Mean pause after a call. */
  readonly pauseMs: number;
}

export class ClientProcess implements AsyncDisposable {
  readonly #program: Program;
  readonly #done: Promise<void>;

  constructor(request: ClientRequest, heard: (said: Said) => void) {
    this.#program = new Program("test/support/kills/kill-client.ts", [JSON.stringify(request)], {
      input: true,
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#done = promise;
    const lines = createInterface({ input: this.#program.child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => {
      const said = JSON.parse(line) as Said;
      if ("done" in said) resolve();
      else heard(said);
    });
  }

  /** Lets it end its calls. */
  async finish(): Promise<void> {
    this.#program.child.stdin?.write("stop\n");
    const early = this.#program.ended(60_000).then(({ code, stderr }) => {
      if (code !== 0) throw new Error(`a client process ended with ${code}: ${stderr}`);
    });
    await Promise.race([this.#done, early]);
    await early;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]();
  }
}
