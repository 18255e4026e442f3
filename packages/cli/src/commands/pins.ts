/** `pinion pins` */
import { formatActorId } from "@pinion/core";
import type { PinRow, PinsAnswer } from "@pinion/runtime";
import { PIN_PRIORITIES, type AimStats, type PinPriority } from "@pinion/storage";
import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { AdminClient } from "../host-access/admin-client.ts";
import { findHost, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import type { Output } from "../output/output.ts";
import { fieldList, textTable } from "../output/text-table.ts";
import { bytesText, durationText, integerText } from "../output/units.ts";
import { actorOf } from "./call.ts";

interface PinsOptions extends CommonOptions, HostChoice {
  readonly priority?: string;
  readonly node?: string;
  readonly actor?: string;
  readonly degraded?: boolean;
  readonly limit: string;
}

/** What a host gives at once. */
const LIMIT_MAX = 10_000;

export function pinsCommand(frame: CommandFrame): Command {
  const command = frame.command("pins", {
    summary: "show what is pinned in memory, within which budget, and what is degraded and why",
    description:
      "Extents of active actors, the most important class first, in a class the hottest first. What a\n" +
      "degraded extent means, and what to do about it: docs/residency.md.",
    examples: [
      ["pinion pins", "totals by class, and the first 100 extents"],
      ["pinion pins --degraded", "those that are not in memory although they should be"],
      ["pinion pins --actor airport/JFK --json", "what one actor has got, for a script"],
    ],
    json: '{"memory", "degraded", "workers": [{"worker", "stats", "arena", "facts", "pressure", "pins": [{"actor", "extent", "state", "priority", "bytes", "locked", "degraded", …}]}]}',
  });
  return hostOptions(command, "admin")
    .option("--priority <class>", `only this class: ${PIN_PRIORITIES.join(", ")}`)
    .option("--node <n>", "only extents with most of their memory on this NUMA node")
    .option("--actor <actor>", "only extents of this actor, type/key")
    .option("--degraded", "only extents that are not in memory although they should be")
    .option("--limit <n>", "how many at most, of each worker", "100")
    .action(async (options: PinsOptions) =>
      frame.run(options, async (output) => {
        const query = queryOf(options);
        const admin = new AdminClient(await findHost(frame.io, options, "admin"));
        const answer = await admin.pins(query);
        output.result(answer, () => describe(answer, options, output));
      }),
    );
}

function queryOf(options: PinsOptions) {
  const { priority, node, actor, degraded } = options;
  if (priority !== undefined && !(PIN_PRIORITIES as readonly string[]).includes(priority)) {
    throw new CliError(
      "usage",
      `--priority takes one of ${PIN_PRIORITIES.join(", ")}, not ${priority}`,
    );
  }
  return {
    priority: priority as PinPriority | undefined,
    node: node === undefined ? undefined : wholeNumber("--node", node, 0),
    actor: actor === undefined ? undefined : formatActorId(actorOf(actor)),
    degraded,
    limit: Math.min(LIMIT_MAX, wholeNumber("--limit", options.limit, 1)),
  };
}

function wholeNumber(option: string, text: string, min: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= min) return value;
  throw new CliError("usage", `${option} takes a number from ${min}, not ${text}`);
}

function describe(answer: PinsAnswer, options: PinsOptions, output: Output): string {
  const { paint } = output;
  const parts = [fieldList(totals(answer, output), paint)];
  const rows = answer.workers.flatMap(({ pins }) => pins);
  if (rows.length > 0) parts.push(pinTable(rows, answer.workers.length > 1, output));
  else {
    const { priority, node, actor, degraded } = options;
    const all = [priority, node, actor, degraded].every((filter) => filter === undefined);
    parts.push(
      all ? "no extents: no active actor has any" : "no extents like that: see pinion pins alone",
    );
  }
  if (answer.workers.some(({ more }) => more))
    parts.push(paint("dim", `there are more: --limit ${Number(options.limit) * 10}`));
  return parts.join("\n\n");
}

function totals({ memory, degraded, workers }: PinsAnswer, output: Output): [string, string][] {
  const { paint } = output;
  const fields: [string, string][] = [];
  const used = workers[0]?.stats.budgetUsedBytes ?? 0;
  fields.push([
    "budget",
    `${bytesText(used)} of ${bytesText(memory.pinBytes)} for pins (of ${bytesText(memory.limitBytes)} by ${memory.limitedBy}, ${bytesText(memory.usableBytes)} are left for data)`,
  ]);
  for (const worker of workers) {
    const { stats, pressure, facts, door, doorDegraded } = worker;
    const name = workers.length > 1 ? `worker ${worker.worker}` : "pinned";
    const lines = [
      `${integerText(stats.pinnedCount)} extents, ${bytesText(stats.pinnedBytes)}; locked ${bytesText(stats.lockedBytes)}`,
    ];
    for (const priority of PIN_PRIORITIES) {
      const of = stats.byPriority[priority];
      if (of.count === 0) continue;
      const borrowed =
        of.borrowedBytes > 0 ? `, ${bytesText(of.borrowedBytes)} beyond its share` : "";
      lines.push(
        `${priority}: ${integerText(of.count)}, ${bytesText(of.bytes)} of a share of ${bytesText(of.shareBytes)}${borrowed}`,
      );
    }
    for (const [reason, bytes] of Object.entries(stats.notLockedBytes))
      lines.push(paint("yellow", `${bytesText(bytes)} not locked: ${reason}`));
    for (const { type, limitBytes, usedBytes, extents } of worker.types) {
      lines.push(
        `type ${type}: ${integerText(extents)}, on the host ${bytesText(usedBytes)} of a bound of ${bytesText(limitBytes)}`,
      );
    }
    fields.push([name, lines.join("\n")]);
    const missing = Object.entries(stats.degraded);
    if (missing.length > 0) {
      const text = missing.map(([reason, n]) => `${integerText(n)} × ${reason}`).join(", ");
      fields.push(["degraded", paint("yellow", text)]);
    }
    fields.push(["numa", numaText(worker, output)]);
    fields.push(["huge pages", aimText(stats.huge, output)]);
    fields.push(["pressure", pressureText(pressure)]);
    const faults = facts.majorFaults;
    const memoryOf = door === "addon" ? "" : `portable memory: ${doorDegraded ?? ""}; `;
    fields.push([
      "faults",
      `${memoryOf}${faults === undefined ? "unknown" : integerText(faults)} that waited for a disk, since the worker started`,
    ]);
  }
  for (const { what, why } of degraded) fields.push(["note", `${what}: ${why}`]);
  return fields;
}

function numaText({ stats, home }: PinsAnswer["workers"][number], output: Output): string {
  const { numaLocal, bytesByNode, moved } = stats;
  const lines = [aimText(numaLocal, output)];
  if (home.nodes.length > 1) {
    const bound =
      home.unbound === undefined
        ? `its threads on ${integerText(home.boundCpus.length)} processors there`
        : `its threads anywhere: ${home.unbound}`;
    lines.unshift(`home is node ${home.node} of ${home.nodes.join(", ")}, ${bound}`);
    const byNode = home.nodes.map((node) => `node ${node} ${bytesText(bytesByNode[node] ?? 0)}`);
    lines.push(`measured: ${byNode.join(", ")}; brought home ${bytesText(moved.bytes)}`);
  }
  return lines.join("\n");
}

/** "97 % (aim 80 %)", and what misses it. */
function aimText({ share, aim, reached, shortfallBytes }: AimStats, { paint }: Output): string {
  const missing = Object.entries(shortfallBytes).map(
    ([reason, bytes]) => `${bytesText(bytes)} ${reason}`,
  );
  const figure = `${Math.round(share * 100)} % (aim ${Math.round(aim * 100)} %)`;
  const text = missing.length === 0 ? figure : `${figure}: ${missing.join(", ")}`;
  return reached || missing.length === 0 ? text : paint("yellow", text);
}

function pressureText(pressure: PinsAnswer["workers"][number]["pressure"]): string {
  const { action, trend, usedShare, timeToCriticalMs } = pressure;
  if (usedShare === null) return "not measured yet";
  const critical =
    timeToCriticalMs === null ? "" : `, critical in ${durationText(timeToCriticalMs)}`;
  return `${Math.round(usedShare * 100)} % of the limit in use, ${trend ?? "stable"}${critical}; action: ${action}`;
}

function pinTable(rows: readonly PinRow[], severalWorkers: boolean, output: Output): string {
  const right = { align: "right" } as const;
  const columns = [
    { title: "actor" },
    { title: "extent" },
    ...(severalWorkers ? [{ title: "worker", ...right }] : []),
    { title: "class" },
    { title: "memory", ...right },
    { title: "heat", ...right },
    { title: "node", ...right },
    { title: "for", ...right },
    { title: "is" },
  ];
  const cells = rows.map((row) => [
    row.actor,
    row.extent,
    ...(severalWorkers ? [String(row.worker)] : []),
    row.priority === row.askedPriority ? row.priority : `${row.priority} (${row.askedPriority})`,
    bytesText(row.bytes),
    row.heat.toFixed(2),
    row.numaNode === null ? "–" : String(row.numaNode),
    row.residentMs === null ? "–" : durationText(row.residentMs),
    stateText(row, output),
  ]);
  return textTable(columns, cells, output.paint);
}

/** Shared with `pinion extents`. */
export function stateText(
  row: Pick<PinRow, "state" | "locked" | "notLocked" | "degraded" | "error">,
  { paint }: Output,
): string {
  const { state, locked, notLocked, degraded, error } = row;
  if (degraded !== null)
    return paint("yellow", `degraded: ${degraded}${error === null ? "" : ` (${error})`}`);
  if (state !== "resident") return state;
  if (locked) return "locked";
  return `resident, not locked${notLocked === null ? "" : `: ${notLocked}`}`;
}
