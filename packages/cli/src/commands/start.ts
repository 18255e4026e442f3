/** `pinion start <module>` */
import type { Command } from "commander";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { configFlags, hostConfig, type ConfigFlags } from "../config/host-config.ts";
import { modulePath } from "../serve/module-path.ts";
import { ServedHost } from "../serve/serve-host.ts";

export function startCommand(frame: CommandFrame): Command {
  const command = frame.command("start <module>", {
    summary: "run a host with the actors a module exports",
    description:
      "Runs in the foreground until it is told to stop: by SIGTERM, Ctrl-C or pinion stop. The first time it lets calls " +
      "end, the second time it ends at once; nothing acknowledged is lost either way.",
    examples: [
      ["pinion start ./actors.ts", "with the defaults"],
      [
        "pinion start ./actors.js --data-dir /var/lib/pinion --json",
        "as a service, its events as JSON",
      ],
    ],
    json: 'a line for each event: {"event": "started", "pid", "endpoint", "adminEndpoint", "dataDir", "actors", "degraded"}, "stopping", "stopped"',
  });
  return configFlags(command).action(async (module: string, options: CommonOptions & ConfigFlags) =>
    frame.run(options, async (output) => {
      const path = await modulePath(frame.io.cwd, module);
      const config = await hostConfig(frame.io, options);
      const served = new ServedHost({
        io: frame.io,
        output,
        module: path,
        options: config.values,
      });
      await served.start();
      await served.untilStopped();
    }),
  );
}
