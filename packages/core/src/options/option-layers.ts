/** The layers options come from, each read into what it gives under which key. */
import { createRequire } from "node:module";
import { messageOf, PinionError } from "../errors.ts";
import { nearestNames } from "../nearest-names.ts";
import type * as Toml from "smol-toml";
import { ENV_PREFIX, variableOf, type OptionSource } from "./option-set.ts";

export interface Given {
  readonly value: unknown;
  readonly source: OptionSource;
  /** How the place is called in a message: `environment variable PINION_PORT`. */
  readonly place: string;
}

export type Layer = ReadonlyMap<string, Given>;

/** Longer files are no configuration. */
const FILE_LENGTH_MAX = 1024 * 1024;

export function invalid(
  message: string,
  details: Readonly<Record<string, string>>,
  cause?: unknown,
): PinionError {
  return new PinionError("config-invalid", message, { details, cause });
}

/** "…; did you mean a or b?" */
function suggestion(name: string, known: readonly string[]): string {
  const near = nearestNames(name, known);
  return near.length === 0 ? "" : `; did you mean ${near.join(" or ")}?`;
}

/** @throws `config-invalid` for a key that does not exist */
export function argumentLayer(
  values: Readonly<Record<string, unknown>>,
  keys: readonly string[],
): Layer {
  const layer = new Map<string, Given>();
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue;
    if (!keys.includes(key)) {
      throw invalid(`there is no option "${shorten(key)}"${suggestion(key, keys)}`, {
        key: shorten(key),
      });
    }
    layer.set(key, { value, source: "argument", place: "given in code or as a flag" });
  }
  return layer;
}

/**
 * Variables an orchestrator sets for a service named `pinion`: PINION_SERVICE_HOST, PINION_PORT=tcp://10.0.0.1:7465,
 * PINION_PORT_7465_TCP_ADDR, also for pinion-something. They are nobody's mistake.
 */
const SERVICE_LINK =
  /^PINION_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/;
const SERVICE_LINK_VALUE = /^(?:tcp|udp|sctp):\/\//;

/**
 * A variable that looks like a mistyped one of ours is refused; any other is somebody else's and noted.
 * @throws `config-invalid`
 */
export function environmentLayer(
  env: Readonly<Record<string, string | undefined>>,
  keys: readonly string[],
  otherVariables: readonly string[],
  notes: string[],
): Layer {
  const keyOf = new Map(keys.map((key) => [variableOf(key), key]));
  const layer = new Map<string, Given>();
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith(ENV_PREFIX) || value === undefined || value === "") continue;
    if (
      SERVICE_LINK.test(variable) ||
      (variable.endsWith("_PORT") && SERVICE_LINK_VALUE.test(value))
    )
      continue;
    const key = keyOf.get(variable);
    if (key !== undefined) {
      layer.set(key, { value, source: "environment", place: `environment variable ${variable}` });
    } else if (!otherVariables.includes(variable)) {
      const known = [...keyOf.keys(), ...otherVariables];
      const near = nearestNames(afterPrefix(variable), known.map(afterPrefix));
      if (near.length > 0) {
        throw invalid(
          `there is no environment variable ${shorten(variable)}; did you mean ${near.map((name) => ENV_PREFIX + name).join(" or ")}?`,
          { key: shorten(variable) },
        );
      }
      notes.push(`environment variable ${shorten(variable)} is not known and was ignored`);
    }
  }
  return layer;
}

const afterPrefix = (variable: string): string => variable.slice(ENV_PREFIX.length);

/** @throws `config-invalid` for what is not TOML, and for a table or key that does not exist */
export function fileLayer(
  file: { readonly path: string; readonly text: string },
  section: string,
  keys: readonly string[],
  otherSections: readonly string[],
): Layer {
  const layer = new Map<string, Given>();
  const { path } = file;
  for (const [name, table] of Object.entries(parseToml(file))) {
    if (otherSections.includes(name)) continue;
    if (name !== section) {
      const hint = keys.includes(name)
        ? `: write it below a line [${section}]`
        : suggestion(name, [section, ...otherSections]);
      throw invalid(`${path}: there is no table "${shorten(name)}"${hint}`, {
        key: shorten(name),
        path,
      });
    }
    if (!isTable(table))
      throw invalid(`${path}: ${section} must be a table, [${section}]`, { key: section, path });
    for (const [key, value] of Object.entries(table)) {
      if (!keys.includes(key)) {
        throw invalid(
          `${path}: there is no option "${shorten(key)}" in [${section}]${suggestion(key, keys)}`,
          { key: shorten(key), path },
        );
      }
      layer.set(key, { value, source: "file", place: `[${section}] in ${path}` });
    }
  }
  return layer;
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const proto: unknown = Object.getPrototypeOf(value);
  return proto === null || proto === Object.prototype;
}

function parseToml(file: {
  readonly path: string;
  readonly text: string;
}): Record<string, unknown> {
  const { path, text } = file;
  if (text.length > FILE_LENGTH_MAX)
    throw invalid(`${path} is longer than 1 MiB: it is no configuration file`, { path });
  // Here and not above: most threads that read options never see a file of them.
  const { parse, TomlError } = createRequire(import.meta.url)("smol-toml") as typeof Toml;
  try {
    return parse(text);
  } catch (e) {
    const [what = ""] = messageOf(e).split("\n");
    const where = e instanceof TomlError ? `, line ${e.line}, column ${e.column}` : "";
    throw invalid(`${path}${where}: ${what}`, { path }, e);
  }
}

/** Names in messages come from anywhere. */
export function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
