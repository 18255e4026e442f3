/** A server and a client of it, each a process of its own. */
import { Child } from "./child.ts";
import type { LoadJob, LoadResult } from "./load.ts";

export class Pair {
  readonly server: Child;
  readonly #client: Child;

  private constructor(server: Child, client: Child) {
    this.server = server;
    this.#client = client;
  }

  /**
   * @param server answers the question "target" with what its clients connect to.
   * @param clientModule a file next to this one that exports `open`, or the URL of one.
   */
  static async start(server: Child, clientModule: string | URL): Promise<Pair> {
    const target = await server.ask<string>("target");
    return new Pair(server, clientOf(clientModule, target));
  }

  run(job: LoadJob): Promise<LoadResult> {
    return this.#client.ask<LoadResult>(job);
  }

  async stop(): Promise<void> {
    await this.#client.stop();
    await this.server.stop();
  }
}

/** A client process that answers `LoadJob`s. */
export function clientOf(module: string | URL, target: string): Child {
  const { href } = new URL(module, import.meta.url);
  return new Child(new URL("client-process.ts", import.meta.url), [href, target]);
}

/** A server process of the file next to this one. */
export function serverOf(
  file: string,
  args: readonly string[],
  execArgv?: readonly string[],
): Child {
  return new Child(
    new URL(file, import.meta.url),
    args,
    execArgv === undefined ? {} : { execArgv },
  );
}
