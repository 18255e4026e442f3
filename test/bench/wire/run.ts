/**
 * What client and gateway cost outside the turn engine: the real ones against a bare gRPC stream, in turns, in separate processes.
 *   node --conditions=source test/bench/wire/run.ts [--rounds 5] [--ms 3000] [--callers 64,1] [--json]
 *     [--profile DIRECTORY]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    ms: { type: "string", default: "3000" },
    warmup: { type: "string", default: "1000" },
    callers: { type: "string", default: "64,1" },
    json: { type: "boolean", default: false },
    profile: { type: "string", default: "" },
  },
});

interface Result {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));
const flags = options.profile === "" ? [] : ["--cpu-prof", `--cpu-prof-dir=${options.profile}`];

async function startServer(mode: string) {
  const child = spawn(
    process.execPath,
    ["--conditions=source", ...flags, here("./wire-server.ts"), mode],
    {
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const [port] = (await once(createInterface(child.stdout), "line")) as [string];
  return { child, port };
}

async function runClient(mode: string, port: string, callers: string): Promise<Result> {
  const args = [here("./wire-client.ts"), mode, port, callers, options.warmup, options.ms];
  const child = spawn(process.execPath, ["--conditions=source", ...flags, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  await once(child, "exit");
  return JSON.parse(line) as Result;
}

const median = (numbers: readonly number[]) =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1] as number;

const floor = await startServer("floor");
const pinion = await startServer("pinion");
for (const callers of options.callers.split(",")) {
  const rounds: { floor: Result; pinion: Result }[] = [];
  for (let i = 0; i < Number(options.rounds); i++) {
    rounds.push({
      floor: await runClient("floor", floor.port, callers),
      pinion: await runClient("pinion", pinion.port, callers),
    });
  }
  const floorRate = median(rounds.map((r) => r.floor.rate));
  const rate = median(rounds.map((r) => r.pinion.rate));
  const p50 = median(rounds.map((r) => r.pinion.p50));
  const floorP50 = median(rounds.map((r) => r.floor.p50));
  const floors = rounds.map((r) => r.floor.rate);
  const spread = Math.max(...floors) / Math.min(...floors);
  const row = {
    suite: "wire",
    case: `echo-${callers}`,
    unit: "calls/s",
    value: Math.round(rate),
    floor: Math.round(floorRate),
    ratio: Number((rate / floorRate).toFixed(3)),
    better: "higher",
    p50: Number(p50.toFixed(4)),
    floorP50: Number(floorP50.toFixed(4)),
    p99: Number(median(rounds.map((r) => r.pinion.p99)).toFixed(4)),
    rounds: rounds.map((r) => Math.round(r.pinion.rate)),
    floors: floors.map(Math.round),
    spread: Number(spread.toFixed(2)),
    noisy: spread > 1.5,
  };
  console.log(options.json ? JSON.stringify(row) : row);
}
floor.child.kill();
pinion.child.kill();
