/**
 * A host in this process until somebody ends it: what `pinion start` and `pinion dev` have in common.
 *
 * I1 the first stop signal stops in order, a second one ends the process at once.
 * I2 a failure of the host ends the command with that failure.
 */
import { pathToFileURL } from "node:url";
import { startHost, type Host, type HostOptions } from "@pinion/runtime";
import type { CliIo } from "../command-frame.ts";
import type { Output } from "../output/output.ts";
import { banner, type HostFacts } from "./banner.ts";

/** 128 + SIGINT, as shells count. */
const INTERRUPTED = 130;

export interface ServeRequest {
  readonly io: CliIo;
  readonly output: Output;
  /** Absolute. */
  readonly module: string;
  readonly options: HostOptions;
}

export class ServedHost {
  readonly #request: ServeRequest;
  #host: Host | undefined;
  #stopping = false;
  #offSignals: (() => void) | undefined;
  readonly #stopAsked = Promise.withResolvers<void>();

  constructor(request: ServeRequest) {
    this.#request = request;
    this.#offSignals = request.io.onStopSignal(() => this.#onSignal());
  }

  get host(): Host | undefined {
    return this.#host;
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  /** @throws what `startHost` throws */
  async start(): Promise<void> {
    const { io, output, module, options } = this.#request;
    this.#host = await startHost({ ...options, module: pathToFileURL(module) });
    const facts = factsOf(this.#host, module);
    output.event("started", { ...facts }, `\n${banner(facts, output.paint, io.cwd)}\n`);
    if (this.#stopping) void this.#host.stop(); // asked for while it started
  }

  /** Resolves when the host has stopped, by a signal or by `pinion stop`, or nobody wants one any more. */
  async untilStopped(): Promise<void> {
    const { output } = this.#request;
    try {
      await (this.#host === undefined ? this.#stopAsked.promise : this.#host.closed);
      output.event("stopped", {}, "stopped");
    } finally {
      this.#offSignals?.();
    }
  }

  #onSignal(): void {
    const { io, output } = this.#request;
    if (this.#stopping) {
      io.exitNow(INTERRUPTED); // I1
      return;
    }
    this.#stopping = true;
    this.#stopAsked.resolve();
    output.event("stopping", {}, "\nstopping: calls under way may end (once more to stop at once)");
    void this.#host?.stop();
  }
}

export function factsOf(host: Host, module: string): HostFacts {
  const { endpoint, adminEndpoint, dataDir, degraded } = host;
  return {
    pid: process.pid,
    endpoint,
    adminEndpoint,
    dataDir,
    module,
    actors: host.client.actorTypes,
    degraded,
  };
}
