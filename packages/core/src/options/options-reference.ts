/** The options of a set as a Markdown table, for documentation that a test keeps true. */
import { variableOf, type OptionDefinition, type OptionSet } from "./option-set.ts";
import { formatQuantity } from "./quantity.ts";

export function optionsTable<T extends object>(set: OptionSet<T>): string {
  const rows = Object.entries<OptionDefinition<unknown>>(set.definitions).map(
    ([key, definition]) =>
      `| \`${key}\` | \`${variableOf(key)}\` | ${defaultOf(definition)} | ${definition.rule} | ${definition.description} |`,
  );
  return [
    `| key in [${set.section}] | variable | default | must be | what it does |`,
    "| --- | --- | --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}

function defaultOf({ default: value, unit }: OptionDefinition<unknown>): string {
  if (typeof value === "number" && unit !== undefined) return `\`${formatQuantity(value, unit)}\``;
  return value === undefined ? "none" : `\`${JSON.stringify(value).replaceAll('"', "")}\``;
}
