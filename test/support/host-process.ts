/** A host in a process of its own, to be killed, asked and started again. */
import { join } from "node:path";
import type { ReadyReport } from "@pinion/runtime";
import { Program, ROOT } from "./program.ts";

export const COUNTER_MODULE = join(ROOT, "test/integration/fixtures/counter.ts");

export interface HostRequest {
  readonly dataDir: string;
  /** "values", or leave it out for the module. */
  readonly actors?: "values";
  readonly module?: string;
  readonly port?: number;
  readonly adminPort?: number;
  readonly [option: string]: unknown;
}

export interface Serving {
  readonly pid: number;
  readonly endpoint: string;
  readonly adminEndpoint: string;
  readonly incarnation: number;
}

export interface StartFailure {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly stack: string | null;
}

export interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

export class HostProcess implements AsyncDisposable {
  readonly program: Program;
  #serving: Serving | undefined;

  constructor(request: HostRequest, options: ConstructorParameters<typeof Program>[2] = {}) {
    const { actors, module = COUNTER_MODULE, ...rest } = request;
    const argument = {
      port: 0,
      adminPort: 0,
      ...rest,
      ...(actors === undefined ? { module } : { actors }),
    };
    this.program = new Program(
      "test/integration/fixtures/host.ts",
      [JSON.stringify(argument)],
      options,
    );
  }

  static async start(request: HostRequest): Promise<HostProcess> {
    const host = new HostProcess(request);
    try {
      await host.serving();
      return host;
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
  }

  async serving(): Promise<Serving> {
    const [line] = await this.program.printed(/^\{"event":"(?:serving|failed)".*\}$/m);
    const said = JSON.parse(line) as { event: string } & Serving;
    if (said.event !== "serving") throw new Error(`the host did not start: ${line}`);
    this.#serving = said;
    return said;
  }

  /** Of a host that cannot start, or fails later. */
  async failure(): Promise<StartFailure> {
    const [line] = await this.program.printed(/^\{"event":"failed".*\}$/m);
    await this.program.ended();
    return JSON.parse(line) as StartFailure;
  }

  get endpoint(): string {
    return this.#known.endpoint;
  }

  get #known(): Serving {
    if (this.#serving === undefined) throw new Error("the host does not serve yet");
    return this.#serving;
  }

  /** Asks the admin port. */
  async ask<T>(path: string, init: RequestInit = {}): Promise<Answer<T>> {
    const response = await fetch(`http://${this.#known.adminEndpoint}${path}`, init);
    return { status: response.status, body: (await response.json()) as T };
  }

  ready(): Promise<Answer<ReadyReport>> {
    return this.ask<ReadyReport>("/ready");
  }

  async metrics(): Promise<string> {
    const response = await fetch(`http://${this.#known.adminEndpoint}/metrics`);
    return response.text();
  }

  async kill(): Promise<void> {
    this.program.signal("SIGKILL");
    await this.program.ended();
  }

  /** Stops in order. */
  async stop(): Promise<void> {
    this.program.signal("SIGTERM");
    await this.program.ended();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}
