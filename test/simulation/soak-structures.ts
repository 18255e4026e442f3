/**
 * `pnpm soak:structures [--worlds N] [--seed S] [--level turns|volumes|all] [--json]`: structure-soak.ts and volume-soak.ts for hand.
 *
 * A world has a seed of its own, one more than that of the world before. A failure prints the command that replays its world; exit code 1.
 */
import { parseArgs } from "node:util";
import { messageOf, randomSeed } from "@pinion/core";
import { SOAK_LEVELS, type SoakLevel } from "./soak-replay.ts";
import { soakStructures } from "./structure-soak.ts";
import { soakVolumes } from "./volume-soak.ts";

const WORLDS_DEFAULT = 1_000;
const REPORTED_WORLDS = 50;

const SOAK: Readonly<Record<SoakLevel, (seed: number) => Promise<object>>> = {
  turns: soakStructures,
  volumes: soakVolumes,
};

const { values } = parseArgs({
  options: {
    worlds: { type: "string" },
    seed: { type: "string" },
    level: { type: "string", default: "all" },
    json: { type: "boolean", default: false },
  },
});
const levels = SOAK_LEVELS.filter((level) => values.level === "all" || level === values.level);
const worlds = Number(values.worlds ?? WORLDS_DEFAULT);
const seed = values.seed === undefined ? randomSeed() : Number(values.seed);
if (levels.length === 0 || !(worlds > 0) || !Number.isSafeInteger(seed)) {
  console.error(`error[USAGE]: --worlds N --seed S --level ${SOAK_LEVELS.join("|")}|all`);
  process.exit(2);
}

/** Of all worlds of a level. */
const sums: Partial<Record<SoakLevel, Record<string, number>>> = {};
const failures: string[] = [];
if (!values.json) console.log(`seed ${seed}, ${worlds} worlds`);
for (const level of levels) {
  const sum: Record<string, number> = {};
  sums[level] = sum;
  for (let world = 0; world < worlds; world++) {
    try {
      const report = await SOAK[level](seed + world);
      for (const [name, value] of Object.entries(report)) sum[name] = (sum[name] ?? 0) + value;
    } catch (e) {
      failures.push(messageOf(e));
      if (!values.json) console.log(`FAILED  ${level}: ${messageOf(e)}`);
    }
    if (!values.json && (world + 1) % REPORTED_WORLDS === 0)
      console.log(`${level}: ${world + 1} worlds, ${failures.length} failed`);
  }
  if (!values.json) console.log(`${level}: ${JSON.stringify(sum)}`);
}
process.exitCode = failures.length === 0 ? 0 : 1;
if (values.json) console.log(JSON.stringify({ seed, worlds, sums, failures }, null, 2));
