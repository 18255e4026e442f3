/** `pinion segments` */
import type { SegmentsRow } from "@pinion/runtime";
import type { Command } from "commander";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { AdminClient } from "../host-access/admin-client.ts";
import { findHost, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import type { Output } from "../output/output.ts";
import { textTable } from "../output/text-table.ts";
import { bytesText, integerText } from "../output/units.ts";

const PAGE_BYTES = 4096;

export function segmentsCommand(frame: CommandFrame): Command {
  const command = frame.command("segments", {
    summary: "show the segments that hold the actors on disk, by shard",
    description:
      "A shard is listed once something of it was read or written. Live pages are those that its newest\n" +
      "checkpoint refers to; cleaned ones were copied together so that their segments could go. What was\n" +
      "written and cleaned counts from the start of the host; checkpoints have a number.",
    examples: [
      ["pinion segments", "a line for each shard, and the sum"],
      ["pinion segments --json | jq '[.segments[].livePages] | add'", "pages in use"],
    ],
    json: '{"segments": [{"shard", "worker", "segments", "livePages", "liveShare", "writtenPages", "cleanedPages", "sequence"}]}',
  });
  return hostOptions(command, "admin").action(async (options: CommonOptions & HostChoice) =>
    frame.run(options, async (output) => {
      const admin = new AdminClient(await findHost(frame.io, options, "admin"));
      const answer = await admin.segments();
      output.result(answer, () => describe(answer.segments, output));
    }),
  );
}

function describe(rows: readonly SegmentsRow[], output: Output): string {
  if (rows.length === 0) return "no segments yet: nothing was read or written";
  const columns = [
    "shard",
    "segments",
    "live pages",
    "live",
    "live share",
    "written",
    "cleaned",
    "checkpoint",
  ].map((title) => ({ title, align: "right" as const }));
  const sum = (of: (row: SegmentsRow) => number): number =>
    rows.reduce((total, row) => total + of(row), 0);
  const segments = sum((row) => row.segments);
  const live = sum((row) => row.livePages);
  const room = sum((row) => (row.liveShare === 0 ? 0 : row.livePages / row.liveShare));
  type Counts = Omit<SegmentsRow, "shard" | "worker" | "sequence">;
  const line = (name: string, row: Counts, sequence: string): string[] => [
    name,
    integerText(row.segments),
    integerText(row.livePages),
    bytesText(row.livePages * PAGE_BYTES),
    `${Math.round(row.liveShare * 100)} %`,
    integerText(row.writtenPages),
    integerText(row.cleanedPages),
    sequence,
  ];
  const cells = rows.map((row) => line(String(row.shard), row, integerText(row.sequence)));
  const all: Counts = {
    segments,
    livePages: live,
    liveShare: room === 0 ? 0 : live / room,
    writtenPages: sum((row) => row.writtenPages),
    cleanedPages: sum((row) => row.cleanedPages),
  };
  cells.push(line("all", all, ""));
  return textTable(columns, cells, output.paint);
}
