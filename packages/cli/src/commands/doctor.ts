/** `pinion doctor` */
import { fileURLToPath } from "node:url";
import { memoryPlanOf } from "@pinion/runtime";
import { nativeDoor, platformFeatures } from "@pinion/storage";
import type { Command } from "commander";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import { clockChecks } from "../doctor/clock-checks.ts";
import { diskChecks } from "../doctor/disk-checks.ts";
import { portChecks } from "../doctor/port-checks.ts";
import type { Finding, Level } from "../doctor/finding.ts";
import { platformChecks } from "../doctor/platform-checks.ts";
import { ExitCode } from "../exit-codes.ts";
import { hostConfig } from "../config/host-config.ts";
import type { Paint, Style } from "../output/style.ts";

interface DoctorOptions extends CommonOptions {
  readonly dataDir?: string;
}

const MARKS: Readonly<Record<Level, readonly [mark: string, style: Style]>> = {
  ok: ["✓", "green"],
  warn: ["!", "yellow"],
  fail: ["✗", "red"],
};

export function doctorCommand(frame: CommandFrame): Command {
  return frame
    .command("doctor", {
      summary: "check what this machine allows, and measure its disk",
      description:
        "Looks at limits, kernel settings, clocks and the disk of the data directory. Says what each finding\n" +
        "means and the command that puts it right. Starts nothing and changes nothing.",
      examples: [
        ["pinion doctor", "everything"],
        ["pinion doctor --data-dir /var/lib/pinion", "with the disk that matters"],
      ],
      json: '{"ok", "warn", "fail", "findings": [{"check", "level", "found", "why", "fix", "figures"}]}',
    })
    .option("--data-dir <dir>", "the directory whose disk is measured (PINION_DATA_DIR, ./.pinion)")
    .action(async (options: DoctorOptions) =>
      frame.run(options, async (output) => {
        const { clock } = frame.io;
        const config = await hostConfig(frame.io, options);
        const findings = [
          ...platformChecks(
            await platformFeatures(),
            nativeDoor(),
            buildCommand(),
            memoryPlanOf(config.values),
          ),
          ...(await clockChecks(clock)),
          ...(await portChecks(config.values)),
          ...(await diskChecks(config.values.dataDir, clock)),
        ];
        const count = (level: Level): number => findings.filter((f) => f.level === level).length;
        const counts = { ok: count("ok"), warn: count("warn"), fail: count("fail") };
        output.result({ ...counts, findings }, () => {
          const summary = `${counts.ok} ok, ${counts.warn} to improve, ${counts.fail} to repair`;
          return [
            ...findings.map((finding) => findingText(finding, output.paint)),
            "",
            summary,
          ].join("\n");
        });
        return counts.fail > 0 ? ExitCode.failed : ExitCode.ok;
      }),
    );
}

/** What compiles the native part of the storage package, wherever that is installed. */
function buildCommand(): string {
  const script = new URL("../native/build.mjs", import.meta.resolve("@pinion/storage"));
  return `sudo apt-get install gcc && node ${fileURLToPath(script)}`;
}

const CHECK_WIDTH = 15;

function findingText(finding: Finding, paint: Paint): string {
  const { check, level, found, why, fix } = finding;
  const [mark, style] = MARKS[level];
  const indent = " ".repeat(CHECK_WIDTH + 3);
  const lines = [`${paint(style, mark)} ${check.padEnd(CHECK_WIDTH)} ${found}`];
  if (why !== undefined) lines.push(`${indent}${why}`);
  if (fix !== undefined) lines.push(`${indent}${paint("cyan", fix)}`);
  return lines.join("\n");
}
