/**
 * The host as a process of its own that can be killed the hard way and started again.
 *
 * I1 at most one host process at a time; it never outlives this one (it ends when the IPC channel closes).
 * I2 a restarted host has the ports and the data directory of the first one: to a client it is the same host.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostMessage, HostRequest } from "./host.ts";

export type HostReady = Extract<HostMessage, { kind: "ready" }>;

const HOST_PROGRAM = new URL("./host.ts", import.meta.url);
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 10_000;
const OUTPUT_CHARS_KEPT = 8_192;

export class HostProcess {
  readonly #request: HostRequest;
  #child: ChildProcess | undefined;
  #ready: HostReady | undefined;
  #output = "";
  /** Called when the host ends without having been asked to. */
  readonly #onCrash: (error: Error) => void;

  constructor(
    request: Pick<HostRequest, "dataDir" | "workerHeapBytes">,
    onCrash: (error: Error) => void,
  ) {
    this.#request = { ...request, ports: undefined };
    this.#onCrash = onCrash;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts the host and waits until it serves. */
  async start(): Promise<HostReady> {
    const child = fork(HOST_PROGRAM, [JSON.stringify(this.#nextRequest())], {
      execArgv: ["--conditions=source"],
      // Compiled code is kept between runs: a host starts in half the time.
      env: { NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"), ...process.env },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#output = (this.#output + text).slice(-OUTPUT_CHARS_KEPT);
      });
    }
    child.once("exit", (code, signal) => {
      if (this.#child === child) this.#onCrash(this.#error(`ended by itself (${signal ?? code})`));
    });
    this.#ready = await this.#firstMessage(child);
    return this.#ready;
  }

  /** SIGKILL: no warning, nothing flushed, no handler runs. Resolves when the process is gone. */
  async kill(): Promise<void> {
    const child = this.#forget();
    if (child?.pid === undefined) return;
    const exited = once(child, "exit");
    process.kill(child.pid, "SIGKILL");
    await exited;
  }

  /** Asks the host to stop in order; kills it if it does not. */
  async stop(): Promise<void> {
    const child = this.#forget();
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    const killTimer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    if (child.connected) child.disconnect();
    await exited;
    clearTimeout(killTimer);
  }

  /** From here on its end is no surprise. */
  #forget(): ChildProcess | undefined {
    const child = this.#child;
    this.#child = undefined;
    return child;
  }

  #nextRequest(): HostRequest {
    if (this.#ready === undefined) return this.#request;
    const { dataDir, endpoint, adminEndpoint } = this.#ready;
    const ports = { port: portOf(endpoint), adminPort: portOf(adminEndpoint) };
    return { ...this.#request, dataDir, ports }; // I2
  }

  async #firstMessage(child: ChildProcess): Promise<HostReady> {
    const signal = AbortSignal.timeout(START_MS_MAX);
    try {
      const [message] = (await Promise.race([
        once(child, "message", { signal }),
        once(child, "exit", { signal }).then(([code]) => {
          throw this.#error(`ended while starting (${String(code)})`);
        }),
      ])) as [HostMessage];
      if (message.kind === "ready") return message;
      throw new Error(`the host could not start: ${message.message}`);
    } catch (e) {
      this.#forget();
      child.kill("SIGKILL");
      throw signal.aborted ? this.#error(`did not start within ${START_MS_MAX / 1000} s`) : e;
    }
  }

  #error(what: string): Error {
    const output = this.#output.trim();
    return new Error(`the host ${what}${output === "" ? "" : `\n${output}`}`);
  }
}

const portOf = (endpoint: string): number => Number(/:(\d+)\/?$/.exec(endpoint)?.[1]);
