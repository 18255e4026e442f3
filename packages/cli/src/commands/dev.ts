/** `pinion dev <module>` */
import { relative } from "node:path";
import { isPinionError } from "@pinion/core";
import type { HostOptions } from "@pinion/runtime";
import type { Command } from "commander";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import type { Output } from "../output/output.ts";
import { durationText, roundMs } from "../output/units.ts";
import {
  configFlags,
  hostConfig,
  type ConfigFlags,
  type HostConfig,
} from "../config/host-config.ts";
import { modulePath } from "../serve/module-path.ts";
import { ModuleWatcher } from "../serve/module-watcher.ts";
import { ServedHost } from "../serve/serve-host.ts";

export function devCommand(frame: CommandFrame): Command {
  const command = frame.command("dev <module>", {
    summary: "run a host that reloads the module when it changes",
    description:
      "Watches the module and what it imports by a relative path. After a change the host gets a new worker with the new " +
      "code: state survives, clients see a short wait. A module that does not load changes nothing: the old one goes on.",
    examples: [
      ["pinion dev ./my-actors.ts", "then, from another terminal:"],
      ["pinion call counter/visits increment 3", "call one of its actors"],
    ],
    json: 'as pinion start, and {"event": "reloaded", "changed", "tookMs", "actors"}, {"event": "reload-failed", "error"}, {"event": "load-failed", "error"}',
  });
  return configFlags(command).action(async (module: string, options: CommonOptions & ConfigFlags) =>
    frame.run(options, async (output) => {
      const path = await modulePath(frame.io.cwd, module);
      const config = await hostConfig(frame.io, options);
      const served = new ServedHost({
        io: frame.io,
        output,
        module: path,
        options: quietByDefault(config),
      });
      await new DevSession(frame, output, served, path).run();
    }),
  );
}

/** What goes well is said by this command itself. */
function quietByDefault({ values, sources }: HostConfig): HostOptions {
  return sources.logLevel === "default" ? { ...values, logLevel: "warn" } : values;
}

class DevSession {
  readonly #frame: CommandFrame;
  readonly #output: Output;
  readonly #served: ServedHost;
  readonly #watcher: ModuleWatcher;

  constructor(frame: CommandFrame, output: Output, served: ServedHost, path: string) {
    this.#frame = frame;
    this.#output = output;
    this.#served = served;
    this.#watcher = new ModuleWatcher(path, frame.io.clock, (changed) => this.#onChange(changed));
  }

  async run(): Promise<void> {
    // Before the host loads the module: no change in between goes unseen.
    await this.#watcher.start();
    try {
      await this.#tryStart();
      const files = this.#watcher.fileCount === 1 ? "1 file" : `${this.#watcher.fileCount} files`;
      this.#output.note(this.#output.paint("dim", `watching ${files}`));
      await this.#served.untilStopped();
    } finally {
      await this.#watcher.stop();
    }
  }

  /** A module that does not load yet is what `dev` is for: it waits for the next change. */
  async #tryStart(): Promise<void> {
    try {
      await this.#served.start();
    } catch (error) {
      if (!isPinionError(error, "module-failed")) throw error;
      this.#output.failure("load-failed", error, "the module does not load; waiting for a change");
    }
  }

  async #onChange(changed: readonly string[]): Promise<void> {
    const { host, stopping } = this.#served;
    if (stopping) return;
    if (host === undefined) {
      await this.#tryStart();
      return;
    }
    const files = changed.map((path) => relative(this.#frame.io.cwd, path));
    const { clock } = this.#frame.io;
    const startMs = clock.nowMs();
    try {
      await host.reload();
      const tookMs = roundMs(clock.nowMs() - startMs);
      const actors = host.client.actorTypes;
      const names = actors.map(({ name }) => name).join(", ");
      this.#output.event(
        "reloaded",
        { changed: files, tookMs, actors },
        `${files.join(", ")} changed: reloaded in ${durationText(tookMs)} (${names})`,
      );
    } catch (error) {
      if (this.#served.stopping) return;
      this.#output.failure(
        "reload-failed",
        error,
        `${files.join(", ")} changed, but does not load; the code from before goes on`,
      );
    }
  }
}
