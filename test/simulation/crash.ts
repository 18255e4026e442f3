/**
 * `pnpm crash`: the crash simulations and real kills, for as long as they are told to.
 *
 *     pnpm crash [--cuts N] [--seed S] [--policy P] [--level log|actors|kill|all] [--json]
 *
 * `--cuts` is per flush policy (for `kill`: SIGKILLs in all). A failure prints the command that replays it; exit code 1.
 */
import { parseArgs } from "node:util";
import { isPinionError, messageOf, randomSeed } from "@pinion/core";
import { parseFlushPolicy, type FlushPolicy } from "@pinion/storage";
import { runActorCuts } from "./actor-cuts.ts";
import { CUT_POLICIES } from "./cut-policies.ts";
import { runHostKills } from "../support/kills/host-kills.ts";
import { runLogCuts } from "./log-cuts.ts";

const CUTS_DEFAULT = 1_000;
const KILLS_DEFAULT = 50;
const CUTS_PER_WORLD = 6;
const LEVELS = ["log", "actors", "kill"] as const;
type Level = (typeof LEVELS)[number];

interface Outcome {
  readonly level: Level;
  readonly policy: string;
  readonly seed: number;
  readonly cuts: number;
  readonly seconds: number;
  readonly details: Readonly<Record<string, number>>;
  readonly failure?: { readonly message: string; readonly replay: string };
}

function usage(message: string): never {
  console.error(`error[USAGE]: ${message}`);
  process.exit(2);
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    usage(`--${name} takes a whole number, not "${text}"`);
  return value;
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        cuts: { type: "string" },
        seed: { type: "string" },
        policy: { type: "string" },
        level: { type: "string", default: "all" },
        json: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    usage(messageOf(error));
  }
}

function choosePolicies(text: string | undefined): readonly FlushPolicy[] {
  if (text === undefined) return CUT_POLICIES;
  const preset = CUT_POLICIES.find((p) => p.name === text);
  if (preset !== undefined) return [preset];
  try {
    return [parseFlushPolicy(text)];
  } catch (error) {
    if (isPinionError(error)) usage(`--policy: ${error.message}`);
    throw error;
  }
}

function chooseLevels(text: string): readonly Level[] {
  if (text === "all") return LEVELS;
  const level = LEVELS.find((l) => l === text);
  return level === undefined
    ? usage(`--level is one of ${LEVELS.join(", ")}, all, not "${text}"`)
    : [level];
}

type Counted = { readonly cuts: number; readonly details: Record<string, number> };

async function actorCuts(policy: FlushPolicy, cuts: number, seed: number): Promise<Counted> {
  const details: Record<string, number> = {};
  let done = 0;
  for (let world = 0; done < cuts; world++) {
    // A world's own seed, so that one world alone replays a failure.
    const report = await runActorCuts({ policy, seed: seed + world, cuts: CUTS_PER_WORLD });
    for (const [key, value] of Object.entries(report)) details[key] = (details[key] ?? 0) + value;
    done += report.cuts;
  }
  return { cuts: done, details };
}

async function logCuts(policy: FlushPolicy, cuts: number, seed: number): Promise<Counted> {
  const { cuts: done, ...details } = await runLogCuts({ policy, cuts, seed });
  return { cuts: done, details };
}

async function hostKills(policy: FlushPolicy, cuts: number, seed: number): Promise<Counted> {
  const report = await runHostKills({ policy, kills: cuts, seed });
  return { cuts: report.kills, details: { ...report } };
}

const RUN: Readonly<Record<Level, typeof logCuts>> = {
  log: logCuts,
  actors: actorCuts,
  kill: hostKills,
};

/** What replays a failure: a world of actors has its own seed, the others run from the first. */
function replayCommand(level: Level, policy: FlushPolicy, seed: number, message: string): string {
  const own = level === "actors" ? (/seed (\d+)/.exec(message)?.[1] ?? seed) : seed;
  const cuts = level === "actors" ? " --cuts 1" : "";
  return `pnpm crash --level ${level} --policy ${policy.name} --seed ${own}${cuts}`;
}

async function runOne(
  level: Level,
  policy: FlushPolicy,
  cuts: number,
  seed: number,
): Promise<Outcome> {
  const startMs = performance.now();
  const seconds = (): number => Math.round(performance.now() - startMs) / 1000;
  const common = { level, policy: policy.name, seed };
  try {
    const { cuts: done, details } = await RUN[level](policy, cuts, seed);
    return { ...common, cuts: done, seconds: seconds(), details };
  } catch (error) {
    const message = messageOf(error);
    const replay = replayCommand(level, policy, seed, message);
    return { ...common, cuts: 0, seconds: seconds(), details: {}, failure: { message, replay } };
  }
}

function print(outcome: Outcome): void {
  const { level, policy, cuts, seconds, details, failure } = outcome;
  if (failure !== undefined) {
    console.log(`FAILED  ${level} ${policy}: ${failure.message}\n  replay: ${failure.replay}`);
    return;
  }
  const facts = Object.entries(details)
    .filter(([name]) => name !== "cuts")
    .map(([name, value]) => `${name} ${value}`);
  console.log(
    `ok  ${level} ${policy}: ${cuts} cuts in ${seconds.toFixed(1)} s (${facts.join(", ")})`,
  );
}

const options = readOptions();
const seed = options.seed === undefined ? randomSeed() : wholeNumber("seed", options.seed);
const asked = options.cuts === undefined ? undefined : wholeNumber("cuts", options.cuts);
const policies = choosePolicies(options.policy);
const outcomes: Outcome[] = [];
if (!options.json) console.log(`seed ${seed}`);
for (const level of chooseLevels(options.level)) {
  // Real kills are dear: one policy unless told otherwise, for that is what a host runs with.
  const chosen =
    level === "kill" && options.policy === undefined
      ? policies.filter((p) => p.name === "group")
      : policies;
  for (const policy of chosen) {
    const cuts = asked ?? (level === "kill" ? KILLS_DEFAULT : CUTS_DEFAULT);
    const outcome = await runOne(level, policy, cuts, seed);
    outcomes.push(outcome);
    if (!options.json) print(outcome);
  }
}
const failed = outcomes.filter((o) => o.failure !== undefined).length;
process.exitCode = failed === 0 ? 0 : 1;
if (options.json) console.log(JSON.stringify({ seed, failed, outcomes }, null, 2));
