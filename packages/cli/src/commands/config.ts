/** `pinion config [keys...]` */
import { formatQuantity, nearestNames, variableOf, type OptionDefinition } from "@pinion/core";
import { HOST_OPTIONS, type HostOptions } from "@pinion/runtime";
import type { Command } from "commander";
import { CliError } from "../cli-error.ts";
import type { CommandFrame, CommonOptions } from "../command-frame.ts";
import {
  configFlags,
  hostConfig,
  type ConfigFlags,
  type HostConfig,
} from "../config/host-config.ts";
import type { Output } from "../output/output.ts";
import { pathText } from "../output/path-text.ts";
import { fieldList, textTable } from "../output/text-table.ts";

type Key = keyof HostOptions;

const KEYS = Object.keys(HOST_OPTIONS.definitions) as Key[];

export function configCommand(frame: CommandFrame): Command {
  const command = frame.command("config [keys...]", {
    summary: "show the options a host would start with, and where each comes from",
    description:
      "An option is a flag or --set, else a variable PINION_…, else a line of the TOML file, else its default. " +
      "With keys, only those, and what they do.",
    examples: [
      ["pinion config", "all of them"],
      ["pinion config segmentBytes flushPolicy", "what two of them do"],
      ["pinion config --set segmentBytes=16MiB", "is that allowed?"],
    ],
    json: '{"file", "options": [{"key", "value", "source", "variable", "default", "rule", "description"}], "notes"}',
  });
  return configFlags(command).action(async (keys: string[], options: CommonOptions & ConfigFlags) =>
    frame.run(options, async (output) => {
      const chosen = keys.length === 0 ? KEYS : keys.map(keyOf);
      const config = await hostConfig(frame.io, options);
      const json = {
        file: config.file ?? null,
        options: chosen.map((key) => jsonOf(key, config)),
        notes: config.notes,
      };
      output.result(json, () => {
        const text =
          keys.length === 0
            ? tableOf(config, output)
            : chosen.map((key) => describe(key, config, output)).join("\n\n");
        const file = config.file === undefined ? "no file" : pathText(config.file, frame.io.cwd);
        return [text, "", ...config.notes, output.paint("dim", `file: ${file}`)].join("\n");
      });
    }),
  );
}

function keyOf(word: string): Key {
  const key = KEYS.find((known) => known === word);
  if (key !== undefined) return key;
  const near = nearestNames(word, KEYS);
  throw new CliError("usage", `there is no option ${word}`, {
    details: { key: word },
    hints:
      near.length > 0 ? [`did you mean ${near.join(" or ")}?`] : ["pinion config lists them all"],
  });
}

const definitionOf = (key: Key): OptionDefinition<HostOptions[Key]> =>
  HOST_OPTIONS.definitions[key] as OptionDefinition<HostOptions[Key]>;

function jsonOf(key: Key, { values, sources }: HostConfig) {
  const { rule, description, default: byDefault } = definitionOf(key);
  return {
    key,
    value: values[key] ?? null,
    source: sources[key],
    variable: variableOf(key),
    default: byDefault ?? null,
    rule,
    description,
  };
}

function tableOf({ values, sources }: HostConfig, output: Output): string {
  const rows = KEYS.map((key) => [key, valueText(key, values[key]), sources[key]]);
  return textTable(
    [{ title: "option" }, { title: "value" }, { title: "from" }],
    rows,
    output.paint,
  );
}

function describe(key: Key, { values, sources }: HostConfig, output: Output): string {
  const { rule, description, default: byDefault } = definitionOf(key);
  const { paint } = output;
  return fieldList(
    [
      [key, paint("bold", valueText(key, values[key]))],
      ["from", sources[key]],
      ["default", valueText(key, byDefault)],
      ["must be", rule],
      ["variable", variableOf(key)],
      ["does", description],
    ],
    paint,
  );
}

function valueText(key: Key, value: HostOptions[Key]): string {
  const { unit } = definitionOf(key);
  if (value === undefined) return "none";
  return typeof value === "number" && unit !== undefined
    ? formatQuantity(value, unit)
    : String(value);
}
