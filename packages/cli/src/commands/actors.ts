/** `pinion actors` */
import type { ActorRow } from "@pinion/runtime";
import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { AdminClient, assertType } from "../host-access/admin-client.ts";
import { findHost, type HostChoice } from "../host-access/find-host.ts";
import { hostOptions } from "../host-access/host-options.ts";
import type { Output } from "../output/output.ts";
import { textTable } from "../output/text-table.ts";
import { bytesText, integerText } from "../output/units.ts";

interface ActorsOptions extends CommonOptions, HostChoice {
  readonly type?: string;
  readonly prefix?: string;
  readonly namespace?: string;
  readonly limit: string;
}

/** What the host gives at once. */
const PAGE_MAX = 1_000;

export function actorsCommand(frame: CommandFrame): Command {
  const command = frame.command("actors", {
    summary: "list actors, in memory and on disk",
    description: "With --json, one line for each actor.",
    examples: [
      ["pinion actors --type counter", "all counters, 100 at most"],
      ["pinion actors --type route --prefix JFK- --limit 20", "of keys that begin so"],
    ],
    json: 'one line each: {"id", "state", "storedBytes", "shard", "lsn"}',
  });
  return hostOptions(command, "admin")
    .option("--type <type>", "only actors of this type, in the default namespace")
    .option("--prefix <text>", "only keys that begin with this; needs --type")
    .option("--namespace <name>", "of this namespace instead of the default one; needs --type")
    .option("--limit <n>", "how many at most", "100")
    .action(async (options: ActorsOptions) =>
      frame.run(options, async (output) => list(frame, output, options)),
    );
}

async function list(frame: CommandFrame, output: Output, options: ActorsOptions): Promise<void> {
  const limit = Number(options.limit);
  if (!Number.isInteger(limit) || limit < 1)
    throw new CliError("usage", `--limit takes a number from 1, not ${options.limit}`);
  for (const name of ["prefix", "namespace"] as const) {
    if (options[name] !== undefined && options.type === undefined) {
      throw new CliError("usage", `--${name} needs --type`);
    }
  }
  const admin = new AdminClient(await findHost(frame.io, options, "admin"));
  const { type, prefix, namespace } = options;
  const rows: ActorRow[] = [];
  let after: string | undefined;
  do {
    const pageLimit = Math.min(PAGE_MAX, limit - rows.length);
    const page = await admin.actors({ type, prefix, namespace, limit: pageLimit, after });
    if (output.json) for (const row of page.actors) output.result(jsonOf(row), () => "");
    rows.push(...page.actors);
    after = page.next ?? undefined;
  } while (after !== undefined && rows.length < limit);
  if (rows.length === 0 && type !== undefined) await assertType(admin, type);
  if (rows.length === 0 && type !== undefined && namespace === undefined) {
    output.note(
      output.paint("dim", "looked in the default namespace; --namespace looks in another"),
    );
  }
  if (!output.json) output.result(undefined, () => tableOf(rows, output));
  if (after !== undefined)
    output.note(output.paint("dim", `there are more: --limit ${limit * 10}`));
}

const jsonOf = ({ id, shard, state, storedBytes, lsn }: ActorRow) => ({
  id,
  state,
  storedBytes,
  shard,
  lsn,
});

function tableOf(rows: readonly ActorRow[], output: Output): string {
  if (rows.length === 0) return "no actors";
  const columns = [
    { title: "actor" },
    { title: "state" },
    { title: "on disk", align: "right" as const },
    { title: "shard", align: "right" as const },
    { title: "lsn", align: "right" as const },
  ];
  const cells = rows.map((row) => [
    row.id,
    row.state,
    row.storedBytes === null ? "not yet" : bytesText(row.storedBytes),
    String(row.shard),
    integerText(row.lsn),
  ]);
  return textTable(columns, cells, output.paint);
}
