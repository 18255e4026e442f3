/** `pinion inspect <actor>` */
import { formatActorId, parseActorId } from "@pinion/core";
import type { ActorInspection, InspectAnswer } from "@pinion/runtime";
import type { Command } from "commander";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { AdminClient, assertType } from "../host-access/admin-client.ts";
import { findHost, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import type { Output } from "../output/output.ts";
import { fieldList } from "../output/text-table.ts";
import { valueText } from "../output/value-text.ts";
import { durationText, integerText } from "../output/units.ts";
import { actorOf } from "./call.ts";

export function inspectCommand(frame: CommandFrame): Command {
  const command = frame.command("inspect <actor>", {
    summary: "show one actor: state, running turn, mailbox, reminders",
    examples: [
      ["pinion inspect counter/visits", "what it holds and does"],
      ["pinion inspect counter/visits --json | jq .state", "its state alone"],
    ],
    json: '{"id", "activation", "state", "mailboxLength", "turns", "reminders", "shard", "worker", "lsn", …}',
  });
  return hostOptions(command, "admin").action(
    async (actor: string, options: CommonOptions & HostChoice) =>
      frame.run(options, async (output) => {
        const id = formatActorId(actorOf(actor));
        const admin = new AdminClient(await findHost(frame.io, options, "admin"));
        const { actor: found, blockedCalls } = await admin.inspect(id);
        if (found.activation === "unknown") await assertType(admin, parseActorId(id).type);
        const { stateJson, ...rest } = found;
        const state: unknown = stateJson === null ? null : JSON.parse(stateJson);
        output.result({ ...rest, state, blockedCalls }, () =>
          describe(found, blockedCalls, state, output),
        );
      }),
  );
}

function describe(
  found: ActorInspection,
  blockedCalls: InspectAnswer["blockedCalls"],
  state: unknown,
  output: Output,
): string {
  const { paint } = output;
  const fields: [string, string][] = [
    ["actor", paint("bold", found.id)],
    ["activation", activationText(found)],
    ["state", found.stateJson === null ? "none" : valueText(state, output)],
    ["mailbox", found.mailboxLength === 0 ? "empty" : `${found.mailboxLength} calls wait`],
    ["place", `shard ${found.shard} on worker ${found.worker}`],
    ["lsn", lsnText(found)],
  ];
  if (found.stateVersion !== null && found.stateVersion !== found.definedStateVersion) {
    fields.splice(3, 0, [
      "version",
      `${found.stateVersion}; becomes ${found.definedStateVersion} when it is next activated`,
    ]);
  }
  for (const turn of found.turns) {
    const left =
      turn.remainingMs === null
        ? ""
        : turn.remainingMs < 0
          ? `, its time was up ${durationText(-turn.remainingMs)} ago`
          : `, ${durationText(turn.remainingMs)} left`;
    const fate = turn.abandoned ? paint("red", ", given up but still running") : "";
    fields.push([
      "turn",
      `${turn.method} for ${durationText(turn.ageMs)}${left}${fate}\n${paint("dim", `call ${turn.call || "none: a hook"}`)}`,
    ]);
  }
  for (const reminder of found.reminders) {
    fields.push(["reminder", `${reminder.name}: ${reminder.method} at ${reminder.due}`]);
  }
  for (const { key, method, times, last, quarantined } of blockedCalls) {
    const fate = quarantined ? paint("red", "not run any more") : "is run once more";
    fields.push([
      "blocked",
      `${method} stopped the worker ${times} times, last at ${last}: ${fate}\n${paint("dim", `call ${key}`)}`,
    ]);
  }
  return fieldList(fields, paint);
}

function activationText({ activation, idleMs }: ActorInspection): string {
  if (activation === "unknown") return "never written";
  if (activation === "stored") return "on disk only";
  return idleMs === null ? activation : `${activation}, idle for ${durationText(idleMs)}`;
}

function lsnText({ lsn, committedLsn, appliedLsn }: ActorInspection): string {
  return `${integerText(lsn)} (shard: committed ${integerText(committedLsn)}, checkpointed ${integerText(appliedLsn)})`;
}
