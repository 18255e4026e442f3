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
  readonly grace: string;
  readonly timeout: string;
}

/** What the host takes for a grace. */
const MS_MAX = 600_000;
/** Not the clock's timer: that one lets the process end, and there is nothing else here to keep it. */
const LOOK_EVERY_MS = 50;

export function stopCommand(frame: CommandFrame): Command {
  const command = frame.command("stop", {
    summary: "stop a host in order",
    description:
      "Takes no new calls, lets those under way end, saves what is not in the store yet, and waits until the host is gone.",
    examples: [
      ["pinion stop", "the host on ./.pinion"],
      [
        "pinion stop --grace 60000 --data-dir /var/lib/pinion",
        "another one, with a minute for long calls",
      ],
    ],
    json: '{"stopped", "pid", "tookMs"}',
  });
  return hostOptions(command, "admin")
    .option("--grace <ms>", "how long calls under way may take to end", "10000")
    .option("--timeout <ms>", "how long to wait for the host's end after that", "20000")
    .action(async (options: StopOptions) =>
      frame.run(options, async (output) => {
        const graceMs = msOf("--grace", options.grace);
        const endMs = graceMs + msOf("--timeout", options.timeout);
        const { clock } = frame.io;
        const host = await findHost(frame.io, options, "admin");
        const startMs = clock.nowMs();
        const admin = new AdminClient(host);
        await admin.stop(graceMs);
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
          if (tookMs > endMs) {
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

function msOf(flag: string, text: string): number {
  const ms = Number(text);
  if (text.trim() !== "" && ms >= 0 && ms <= MS_MAX) return ms;
  throw new CliError("usage", `${flag} takes milliseconds from 0 to ${MS_MAX}, not ${text}`);
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
