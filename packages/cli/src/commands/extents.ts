/** `pinion extents <actor>` */
import { formatActorId } from "@pinion/core";
import type { ActorExtentsReport, ExtentRow } from "@pinion/runtime";
import type { Command } from "commander";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { AdminClient } from "../host-access/admin-client.ts";
import { findHost, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import type { Output } from "../output/output.ts";
import { fieldList, textTable } from "../output/text-table.ts";
import { bytesText, integerText } from "../output/units.ts";
import { actorOf } from "./call.ts";
import { stateText } from "./pins.ts";

export function extentsCommand(frame: CommandFrame): Command {
  const command = frame.command("extents <actor>", {
    summary: "show the extents of one actor: what they hold, how long, in memory or not",
    description: "Looks without bringing the actor into memory.",
    examples: [
      ["pinion extents airport/JFK", "all of them"],
      ["pinion extents airport/JFK --json | jq '.extents[].lengthBytes'", "their lengths alone"],
    ],
    json: '{"id", "activation", "profile", "shard", "worker", "extents": [{"name", "structure", "lengthBytes", "resident", "locked", "degraded", "dirtyPages", "heat", …}]}',
  });
  return hostOptions(command, "admin").action(
    async (actor: string, options: CommonOptions & HostChoice) =>
      frame.run(options, async (output) => {
        const id = formatActorId(actorOf(actor));
        const admin = new AdminClient(await findHost(frame.io, options, "admin"));
        const report = await admin.extents(id);
        output.result(report, () => describe(report, output));
      }),
  );
}

function describe(report: ActorExtentsReport, output: Output): string {
  const { paint } = output;
  const { id, activation, profile, shard, worker, extents } = report;
  const head = fieldList(
    [
      ["actor", paint("bold", id)],
      ["activation", activation === "stored" ? "on disk only" : activation],
      ["profile", profile ?? "its definition declares no extents any more"],
      ["place", `shard ${shard} on worker ${worker}`],
    ],
    paint,
  );
  if (extents.length === 0) return `${head}\n\nno extents yet: nothing was ever written to them`;
  const right = { align: "right" } as const;
  const columns = [
    { title: "extent" },
    { title: "structure" },
    { title: "length", ...right },
    { title: "dirty pages", ...right },
    { title: "heat", ...right },
    { title: "is" },
  ];
  const cells = extents.map((extent) => [
    extent.declared ? extent.name : `${extent.name} (not declared any more)`,
    extent.structure,
    bytesText(extent.lengthBytes),
    integerText(extent.dirtyPages),
    extent.heat === null ? "–" : extent.heat.toFixed(2),
    placeText(extent, activation, output),
  ]);
  return `${head}\n\n${textTable(columns, cells, paint)}`;
}

function placeText(
  extent: ExtentRow,
  activation: ActorExtentsReport["activation"],
  output: Output,
): string {
  if (activation === "stored" && !extent.resident) return "on disk";
  const text = stateText({ ...extent, state: extent.resident ? "resident" : "absent" }, output);
  return text === "absent" ? "on disk, read page by page" : text;
}
