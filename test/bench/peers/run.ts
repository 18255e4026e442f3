/**
 * `pnpm bench:peers [--json] [--quick] [--only REGEX] [--dir FOLDER]`: Pinion, Durable Objects on workerd, and Restate on one
 * machine in one run. Every server is alive from the first round to the last; one is loaded at a time, by a client process
 * of its own. README.md says what is and what is not compared.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Child } from "../call/child.ts";
import type { LoadJob } from "../call/load.ts";
import { clientOf, Pair, serverOf } from "../call/pair.ts";
import {
  formatTable,
  runCase,
  type BenchCase,
  type BenchRow,
  type Measurement,
} from "../harness.ts";
import { installPeers, versions } from "./install.ts";
import type { Peer } from "./peer.ts";
import { restate } from "./restate/peer.ts";
import { workerd } from "./workerd/peer.ts";

const PEERS: readonly Peer[] = [workerd, restate];
const CALLERS = 64;
const RUN_MS = 4_000;
const WARM_UP_MS = 1_000;
/** Per round: slow peers make 200 a second. */
const COLD_KEYS = 1_000;

interface Job extends Omit<LoadJob, "prefix"> {
  readonly name: string;
}

function jobs(scale: number): readonly Job[] {
  const hot: Job = {
    name: "hot-64",
    operation: "increment",
    callers: CALLERS,
    keys: 1,
    warmupMs: WARM_UP_MS,
    runMs: RUN_MS * scale,
  };
  return [
    { ...hot, name: "hot-1", callers: 1 },
    hot,
    { ...hot, name: "spread-64", keys: 1_000 },
    { ...hot, name: "read-64", operation: "value" },
    { ...hot, name: "cold-64", keys: COLD_KEYS * scale, each: true },
  ];
}

/** Everybody's clients, and the way to end them and their servers. */
interface Field {
  readonly clients: ReadonlyMap<string, Pick<Child, "ask">>;
  readonly ends: AsyncDisposableStack;
}

async function startAll(dir: string): Promise<Field> {
  await using ends = new AsyncDisposableStack();
  const clients = new Map<string, Pick<Child, "ask">>();
  const own = await Pair.start(
    serverOf("host-process.ts", [join(dir, "pinion")]),
    "./pinion-client.ts",
  );
  ends.defer(() => own.stop());
  clients.set("pinion", { ask: <T>(job: unknown) => own.run(job as LoadJob) as Promise<T> });
  for (const peer of PEERS) {
    const peerDir = join(dir, peer.name);
    await mkdir(peerDir);
    const running = await peer.start(peerDir);
    ends.defer(() => running.stop());
    const client = clientOf(peer.client, running.origin);
    ends.defer(() => client.stop());
    clients.set(peer.name, client);
  }
  return { clients, ends: ends.move() };
}

let prefixes = 0;

function caseOf({ name, ...job }: Job, { clients }: Field): BenchCase {
  const oneCaller = job.callers === 1;
  const contender = (who: string) => async (): Promise<Measurement> => {
    const client = clients.get(who) as Pick<Child, "ask">;
    const result = await client.ask<Measurement>({ ...job, prefix: `${prefixes++}-` });
    return oneCaller ? { ...result, value: result.p50 as number } : result;
  };
  return {
    name,
    unit: oneCaller ? "ms" : "calls/s",
    better: oneCaller ? "lower" : "higher",
    subject: contender("pinion"),
    peers: Object.fromEntries(PEERS.map((peer) => [peer.name, contender(peer.name)])),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      dir: { type: "string", default: tmpdir() },
    },
  });
  await installPeers();
  const dir = await mkdtemp(join(values.dir, "pinion-peers-"));
  try {
    const field = await startAll(dir);
    await using _ended = field.ends;
    const rows: BenchRow[] = [];
    for (const job of jobs(values.quick ? 0.1 : 1)) {
      if (values.only !== undefined && !new RegExp(values.only).test(job.name)) continue;
      const row = await runCase("peers", caseOf(job, field));
      rows.push(row);
      if (values.json) console.log(JSON.stringify(row));
    }
    if (!values.json) console.log(`${await setting()}\n\n${formatTable(rows)}`);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function setting(): Promise<string> {
  const [cpu] = cpus();
  const packages = Object.entries(await versions()).map(([name, version]) => `${name} ${version}`);
  return [
    `${cpus().length} × ${cpu?.model ?? "unknown"}, Linux ${release()}, Node ${process.versions.node}`,
    packages.join(", "),
    "durability: Pinion: a log flushed before the answer;",
    ...PEERS.map(({ name, durability }) => `  ${name}: ${durability}`),
  ].join("\n");
}

await main();
