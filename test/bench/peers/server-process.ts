/**
 * A peer's server, as a program of its own with a log file.
 *
 * I1 it starts with a clean environment: an inherited RUST_BACKTRACE=1, for one, makes a Rust server many times slower.
 * I2 it does not outlive this process.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";

const STOP_MS_MAX = 10_000;
const READY_MS_MAX = 60_000;
const POLL_MS = 50;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL"); // I2
});

export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #logFile: string;

  constructor(
    command: string,
    args: readonly string[],
    logFile: string,
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#logFile = logFile;
    const log = openSync(logFile, "a");
    const { PATH = "", HOME = "" } = process.env;
    this.#child = spawn(command, args, {
      env: { PATH, HOME, DO_NOT_TRACK: "1", ...env }, // I1
      stdio: ["ignore", log, log],
    });
    running.add(this.#child);
    this.#child.once("exit", () => running.delete(this.#child));
  }

  /** Resolves once `url` answers. */
  async answers(url: string, init?: RequestInit): Promise<void> {
    const endMs = performance.now() + READY_MS_MAX;
    for (;;) {
      const ok = await fetch(url, init).then(
        (response) => response.ok,
        () => false,
      );
      if (ok) return;
      if (this.#child.exitCode !== null || performance.now() > endMs) {
        throw new Error(`${this.#child.spawnfile} does not answer at ${url}; see ${this.#logFile}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS_MAX);
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
    clearTimeout(timer);
  }
}

/** A port nobody has just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
