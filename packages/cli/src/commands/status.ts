/** `pinion status` */
import type { HostStatus, ReadyReport } from "@pinion/runtime";
import type { Command } from "commander";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { ExitCode } from "../exit-codes.ts";
import { AdminClient } from "../host-access/admin-client.ts";
import { findHost, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import type { Output } from "../output/output.ts";
import { fieldList } from "../output/text-table.ts";
import { bytesText, durationText, integerText } from "../output/units.ts";

type WorkerReport = HostStatus["workers"][number];

export function statusCommand(frame: CommandFrame): Command {
  const command = frame.command("status", {
    summary: "show how a host is: ready or why not, workers, log, disk",
    description: "Ends with 1 when the host is not ready: when it cannot commit.",
    examples: [
      ["pinion status", "the host on ./.pinion"],
      ["pinion status --host 10.0.0.7:7466 --json", "another one, for a script"],
    ],
    json: '{"ready", "problems", "warnings", "host", "uptimeMs", "workers", "degraded", "blockedCalls", "restarts", "reloadError"}',
  });
  return hostOptions(command, "admin").action(async (options: CommonOptions & HostChoice) =>
    frame.run(options, async (output) => {
      const admin = new AdminClient(await findHost(frame.io, options, "admin"));
      const [status, { ready, problems, warnings }] = await Promise.all([
        admin.status(),
        admin.ready(),
      ]);
      output.result({ ready, problems, warnings, ...status }, () =>
        describe(status, { ready, problems, warnings }, output),
      );
      return ready ? ExitCode.ok : ExitCode.failed;
    }),
  );
}

function describe(
  status: HostStatus,
  { ready, problems, warnings }: Pick<ReadyReport, "ready" | "problems" | "warnings">,
  output: Output,
): string {
  const { paint } = output;
  const { host, uptimeMs, degraded, reloadError, restarts } = status;
  const problemText = problems.map(({ message }) => message).join("\n");
  const fields: [string, string][] = [
    ["ready", ready ? paint("green", "yes") : `${paint("red", "no")}: ${problemText}`],
    [
      "host",
      `${host.hostId}, start ${host.incarnation}, process ${host.pid}, Pinion ${host.version}`,
    ],
    ["since", `${durationText(uptimeMs)} (${host.startedAt})`],
    ["gateway", host.endpoints.join(", ")],
    ["data", host.dataDir],
    ["actors", host.actors === "values" ? "of the program that started it" : host.actors],
    ...status.workers.map(
      (worker) => [`worker ${worker.worker}`, workerText(worker)] as [string, string],
    ),
  ];
  if (warnings.length > 0)
    fields.push(["warnings", paint("yellow", warnings.map(({ message }) => message).join("\n"))]);
  if (degraded.length > 0)
    fields.push(["degraded", degraded.map(({ what, why }) => `${what}: ${why}`).join("\n")]);
  if (reloadError !== null) fields.push(["reload", paint("red", `failed: ${reloadError}`)]);
  const restarted = Object.entries(restarts).map(([reason, times]) => `${times} × ${reason}`);
  if (restarted.length > 0) fields.push(["restarts", restarted.join("\n")]);
  return fieldList(fields, paint);
}

function workerText({ condition, status }: WorkerReport): string {
  if (status === null) {
    return "reason" in condition
      ? `${condition.state}: ${condition.reason}`
      : `${condition.state}, does not answer`;
  }
  const { log, disk, recovery, checkpoint } = status;
  return [
    `${condition.state}, ${integerText(status.activations)} actors in memory, ${integerText(status.callsInFlight)} calls in flight, ${integerText(status.outboxEntries)} sends under way`,
    `log: ${log.policy}, ${log.segments} segments, flush p99 ${durationText(log.flushP99Us / 1000)}${log.backpressure === null ? "" : `, backpressure: ${log.backpressure}`}`,
    `since the last checkpoint: ${bytesText(checkpoint.logBytesSince)} of log (a restart reads it), ${bytesText(checkpoint.dirtyBytes)} of changed pages`,
    `recovered ${integerText(recovery.records)} records in ${durationText(recovery.ms)}`,
    `disk: ${bytesText(disk.freeBytes)} free`,
  ].join("\n");
}
