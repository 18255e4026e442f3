/** The kinds of option a host has, each with its zod schema and its rule in words. */
import { formatQuantity, type OptionDefinition, type QuantityUnit } from "@pinion/core";
import { z } from "zod";

interface Range {
  readonly min: number;
  readonly max: number;
  readonly multipleOf?: number;
}

function quantity(
  unit: QuantityUnit,
  description: string,
  value: number,
  range: Range,
): OptionDefinition<number> {
  const { min, max, multipleOf } = range;
  const bounded = z.int().min(min).max(max);
  const from = `from ${formatQuantity(min, unit)} to ${formatQuantity(max, unit)}`;
  return {
    description,
    default: value,
    unit,
    ...(multipleOf === undefined
      ? { schema: bounded, rule: from }
      : {
          schema: bounded.multipleOf(multipleOf),
          rule: `a multiple of ${formatQuantity(multipleOf, unit)} ${from}`,
        }),
  };
}

export const bytes = (description: string, value: number, range: Range): OptionDefinition<number> =>
  quantity("bytes", description, value, range);

export const ms = (description: string, value: number, range: Range): OptionDefinition<number> =>
  quantity("ms", description, value, range);

export function count(
  description: string,
  value: number,
  { min, max }: Range,
): OptionDefinition<number> {
  return {
    description,
    default: value,
    text: "number",
    schema: z.int().min(min).max(max),
    rule: `a whole number from ${min} to ${max}`,
  };
}

/** A part of a whole: 0.4 is 40 %. */
export function share(
  description: string,
  value: number,
  { min, max }: Range,
): OptionDefinition<number> {
  return {
    description,
    default: value,
    text: "number",
    schema: z.number().min(min).max(max),
    rule: `a number from ${min} to ${max}`,
  };
}

export function optionalBytes(
  description: string,
  range: Range,
): OptionDefinition<number | undefined> {
  return { ...quantity("bytes", description, range.max, range), default: undefined };
}

export function flag(description: string): OptionDefinition<boolean> {
  return { description, default: false, text: "flag", schema: z.boolean(), rule: "true or false" };
}

export function oneOf<const Choice extends string>(
  description: string,
  value: Choice,
  choices: readonly Choice[],
): OptionDefinition<Choice> {
  return {
    description,
    default: value,
    schema: z.enum(choices),
    rule: `one of ${choices.join(", ")}`,
  };
}

/** NUL ends a path for the operating system. */
const pathText = z
  .string()
  .min(1)
  .max(4096)
  .refine((text) => !text.includes("\0"));
const PATH_RULE = "a path of 1 to 4096 characters";

export function path(description: string, value: string): OptionDefinition<string> {
  return { description, default: value, schema: pathText, rule: PATH_RULE };
}

export function optionalPath(description: string): OptionDefinition<string | undefined> {
  return { description, default: undefined, schema: pathText, rule: PATH_RULE };
}

/** @param accepts throws for a text that is not acceptable. */
export function text(
  description: string,
  value: string,
  rule: string,
  accepts: (text: string) => unknown,
): OptionDefinition<string> {
  const schema = z.string().refine((candidate) => {
    try {
      accepts(candidate);
      return true;
    } catch {
      return false;
    }
  });
  return { description, default: value, schema, rule };
}

export function address(description: string, value: string): OptionDefinition<string> {
  return {
    description,
    default: value,
    schema: z.union([z.ipv4(), z.ipv6(), z.hostname()]),
    rule: "an IP address or a host name",
  };
}
