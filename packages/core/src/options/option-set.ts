/**
 * What the options of one subsystem are: for each key a description, a schema, the rule in words, and a default. The
 * checking library stays outside: a schema is what the Standard Schema of such libraries (standardschema.dev) says, so that who only needs
 * ids and errors of this package does not load one.
 */
import type { QuantityUnit } from "./quantity.ts";

export interface ValueSchema<T> {
  readonly "~standard": {
    /** Not asynchronously. */
    validate(value: unknown): SchemaResult<T> | Promise<SchemaResult<T>>;
  };
}

type SchemaResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: readonly unknown[] };

export interface OptionDefinition<T> {
  /** One sentence: what it does, and what a larger or smaller value trades. */
  readonly description: string;
  /** Completes "it must be …": `a whole number from 1 to 64`. */
  readonly rule: string;
  readonly schema: ValueSchema<T>;
  readonly default: T;
  /** Values are also taken as text with a unit. The key ends in the unit: `segmentBytes`, `stopGraceMs`. */
  readonly unit?: QuantityUnit;
  /** How text (the environment, a flag) is read. Default: numbers for a `unit`, else as it stands. */
  readonly text?: "number" | "flag";
}

export interface OptionRelation<T> {
  readonly keys: readonly (keyof T & string)[];
  /** Completes "… must hold": `reconnectDelayMsMin ≤ reconnectDelayMsMax`. */
  readonly rule: string;
  holds(values: T): boolean;
}

export interface OptionSet<T> {
  /** Table of the TOML file: `host` for `[host]`. */
  readonly section: string;
  readonly definitions: { readonly [K in keyof T & string]-?: OptionDefinition<T[K]> };
  readonly relations?: readonly OptionRelation<T>[];
  /** Other tables a file may hold. */
  readonly otherSections?: readonly string[];
  /** Variables with our prefix that are read elsewhere. */
  readonly otherVariables?: readonly string[];
}

export const ENV_PREFIX = "PINION_";

/** `segmentBytes` → `PINION_SEGMENT_BYTES`. */
export function variableOf(key: string): string {
  return ENV_PREFIX + key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

export type OptionSource = "argument" | "environment" | "file" | "default";

export interface ResolvedOptions<T> {
  /** Every key, checked; frozen. */
  readonly values: Readonly<T>;
  /** Which layer each value came from. */
  readonly sources: Readonly<Record<keyof T & string, OptionSource>>;
  /** What was ignored and why, for a log. */
  readonly notes: readonly string[];
}

export interface OptionLayers {
  /** Given in code or as flags. Keys whose value is undefined are not given. */
  readonly argument?: Readonly<Record<string, unknown>>;
  /** Variables named `PINION_…`; an empty one is not given. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A TOML file. */
  readonly file?: { readonly path: string; readonly text: string };
}
