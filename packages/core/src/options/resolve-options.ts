/**
 * Options from their layers: argument > environment > TOML file > default, each value checked where it came from.
 *
 * I1 whatever the layers hold, the outcome is complete frozen options or `config-invalid`, whose message names the key, the
 *    value, where it stands, and what it must be.
 */
import { assert } from "../errors.ts";
import {
  argumentLayer,
  environmentLayer,
  fileLayer,
  invalid,
  shorten,
  type Given,
  type Layer,
} from "./option-layers.ts";
import type {
  OptionDefinition,
  OptionLayers,
  OptionSet,
  OptionSource,
  ResolvedOptions,
} from "./option-set.ts";
import { parseQuantity, QUANTITY_FORMS } from "./quantity.ts";

/** @throws `config-invalid` */
export function resolveOptions<T extends object>(
  set: OptionSet<T>,
  layers: OptionLayers = {},
): ResolvedOptions<T> {
  const definitions = set.definitions as Readonly<Record<string, OptionDefinition<unknown>>>;
  const keys = Object.keys(definitions);
  const notes: string[] = [];
  const given: Layer[] = [
    argumentLayer(layers.argument ?? {}, keys),
    environmentLayer(layers.env ?? {}, keys, set.otherVariables ?? [], notes),
    layers.file === undefined
      ? new Map<string, Given>()
      : fileLayer(layers.file, set.section, keys, set.otherSections ?? []),
  ];
  const values: Record<string, unknown> = {};
  const sources: Record<string, OptionSource> = {};
  const places: Record<string, string> = {};
  for (const [key, definition] of Object.entries(definitions)) {
    const found = given.find((layer) => layer.has(key))?.get(key);
    values[key] = found === undefined ? definition.default : checked(key, definition, found);
    sources[key] = found?.source ?? "default";
    places[key] = found?.place ?? "default";
  }
  for (const relation of set.relations ?? []) {
    if (relation.holds(values as T)) continue;
    const { keys: related, rule } = relation;
    const parts = related.map((key) => `${key} is ${show(values[key])} (${places[key]})`);
    throw invalid(`${parts.join(", ")}: ${rule} must hold`, {
      key: related[0] ?? "",
      value: show(values[related[0] ?? ""]),
      rule,
    });
  }
  return Object.freeze({
    values: Object.freeze(values) as Readonly<T>,
    sources: Object.freeze(sources) as ResolvedOptions<T>["sources"],
    notes: Object.freeze(notes),
  });
}

function checked(
  key: string,
  definition: OptionDefinition<unknown>,
  { value, place }: Given,
): unknown {
  const parsed = definition.schema["~standard"].validate(fromText(definition, value));
  assert(!(parsed instanceof Promise), `the schema of ${key} is asynchronous`);
  if (parsed.issues === undefined) return parsed.value;
  const forms =
    definition.unit === undefined ? "" : `, written like ${QUANTITY_FORMS[definition.unit]}`;
  throw invalid(
    `option ${key} is ${show(value)} (${place}): it must be ${definition.rule}${forms}`,
    {
      key,
      value: show(value),
      rule: definition.rule,
    },
  );
}

/** Text as the value it stands for; text that stands for none is left for the schema to refuse. */
function fromText({ unit, text }: OptionDefinition<unknown>, value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (unit !== undefined) return parseQuantity(value, unit) ?? value;
  if (text === "number")
    return /^\s*[+-]?\d[\d_]*(?:\.\d+)?\s*$/.test(value)
      ? Number(value.replaceAll("_", ""))
      : value;
  if (text === "flag") return FLAGS.get(value.trim().toLowerCase()) ?? value;
  return value;
}

const FLAGS: ReadonlyMap<string, boolean> = new Map([
  ["true", true],
  ["1", true],
  ["yes", true],
  ["false", false],
  ["0", false],
  ["no", false],
]);

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(shorten(value));
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "a list" : "a table or date";
  return String(value);
}
