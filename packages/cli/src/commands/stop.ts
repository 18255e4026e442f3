/** `pinion stop` */
import { setTimeout as pause } from "node:timers/promises";
import { readHostInfo } from "@pinion/runtime";
import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { ExitCode } from "../exit-codes.ts";
import { AdminClient } from "../host-access/admin-client.ts";
import { findHost, type HostAddress, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import { durationText, roundMs } from "../output/units.ts";

interface StopOptions extends CommonOptions, HostChoice {
  readonly timeout: string;
}

/** Not the clock's timer: that one lets the process end, and there is nothing else here to keep it. */
const LOOK_EVERY_MS = 50;

export function stopCommand(frame: CommandFrame): Command {
  const command = frame.command("stop", {
    summary: "stop a host in order",
    description:
      "Takes no new calls, lets those under way end, saves what is not in the store yet, and waits until the host is gone.",
    examples: [
      ["pinion stop", "the host on ./.pinion"],
      ["pinion stop --data-dir /var/lib/pinion", "another one"],
    ],
    json: '{"stopped", "pid", "tookMs"}',
  });
  return hostOptions(command, "admin")
    .option("--timeout <ms>", "how long to wait for its end", "30000")
    .action(async (options: StopOptions) =>
      frame.run(options, async (output) => {
        const timeoutMs = Number(options.timeout);
        if (!(timeoutMs > 0))
          throw new CliError(
            "usage",
            `--timeout takes milliseconds above 0, not ${options.timeout}`,
          );
        const { clock } = frame.io;
        const host = await findHost(frame.io, options, "admin");
        const startMs = clock.nowMs();
        const admin = new AdminClient(host);
        await admin.stop(timeoutMs);
        const pid = host.info?.pid ?? null;
        for (;;) {
          const gone = !(await isThere(host, admin));
          const tookMs = roundMs(clock.nowMs() - startMs);
          if (gone) {
            output.result(
              { stopped: true, pid, tookMs },
              () => `stopped${pid === null ? "" : ` process ${pid}`} after ${durationText(tookMs)}`,
            );
            return ExitCode.ok;
          }
          if (tookMs > timeoutMs) {
            output.result(
              { stopped: false, pid, tookMs },
              () => `it was told to stop, but is still there after ${durationText(tookMs)}`,
            );
            return ExitCode.failed;
          }
          await pause(LOOK_EVERY_MS);
        }
      }),
    );
}

async function isThere({ dataDir, info }: HostAddress, admin: AdminClient): Promise<boolean> {
  if (dataDir !== undefined) {
    const found = await readHostInfo(dataDir);
    return found !== undefined && found.running && found.info.pid === info?.pid;
  }
  return admin.status().then(
    () => true,
    () => false,
  );
}
