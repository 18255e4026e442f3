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
    summary:
      "show the extents of one actor: what they hold, in memory or not, how they are used and connected",
    description:
      "Looks without bringing the actor into memory. Heat and accesses are measured while it is active:\n" +
      "accesses as random, sequential, scan and write. What flags do: docs/residency.md.",
    examples: [
      ["pinion extents airport/JFK", "all of them"],
      ["pinion extents airport/JFK --json | jq '.extents[].lengthBytes'", "their lengths alone"],
    ],
    json: '{"id", "activation", "profile", "shard", "worker", "extents": [{"name", "structure", "lengthBytes", "resident", "locked", "degraded", "dirtyPages", "heat", "accesses", "flags", "attributes", "connections", "growBytes", …}]}',
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
    { title: "grows by", ...right },
    { title: "heat", ...right },
    { title: "accesses", ...right },
    { title: "is" },
  ];
  const cells = extents.map((extent) => [
    extent.declared ? extent.name : `${extent.name} (not declared any more)`,
    extent.structure,
    bytesText(extent.lengthBytes),
    integerText(extent.dirtyPages),
    bytesText(extent.growBytes),
    extent.heat === null ? "–" : extent.heat.toFixed(2),
    accessesText(extent),
    placeText(extent, activation, output),
  ]);
  const parts = [head, textTable(columns, cells, paint)];
  const facts = extents.flatMap((extent): [string, string][] => {
    const lines = factLines(extent);
    return lines.length === 0 ? [] : [[extent.name, lines.join("\n")]];
  });
  if (facts.length > 0) parts.push(fieldList(facts, paint));
  return parts.join("\n\n");
}

/** Random, sequential, scan, write. */
function accessesText({ accesses }: ExtentRow): string {
  if (accesses === null) return "–";
  const { random, sequential, scan, write } = accesses;
  return `${[random, sequential, scan].map(integerText).join("/")} w ${integerText(write)}`;
}

function factLines({ flags, attributes, connections }: ExtentRow): string[] {
  const { hot, prefetch, hugePages, numaNode } = flags;
  const { rowGroup, partition, timeBucket } = attributes;
  const set: string[] = [];
  if (hot) set.push("hot");
  if (prefetch) set.push("prefetch");
  if (hugePages !== null) set.push(hugePages ? "huge pages" : "no huge pages");
  if (numaNode !== null) set.push(`NUMA node ${numaNode}`);
  const found: string[] = [];
  if (rowGroup !== null) found.push(`row group ${rowGroup}`);
  if (partition !== null) found.push(`partition ${partition}`);
  if (timeBucket !== null) found.push(`time ${timeBucket.fromMs} to ${timeBucket.toMs}`);
  const lines: string[] = [];
  if (set.length > 0) lines.push(set.join(", "));
  if (found.length > 0) lines.push(`found by ${found.join(", ")}`);
  for (const link of connections) {
    const kinds = [...link.set, ...(link.learned > 0 ? ["used together"] : [])];
    lines.push(`${kinds.join(" and ")} ${link.to} (${link.weight.toFixed(2)})`);
  }
  return lines;
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
