/** The kinds of option a host has, each with its schema and its rule in words. */
import { formatQuantity, type OptionDefinition, type QuantityUnit } from "@pinion/core";
import * as v from "valibot";

interface Range {
  readonly min: number;
  readonly max: number;
  readonly multipleOf?: number;
}

const wholeNumber = ({ min, max }: Range) =>
  v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max));

function quantity(
  unit: QuantityUnit,
  description: string,
  value: number,
  range: Range,
): OptionDefinition<number> {
  const { min, max, multipleOf } = range;
  const bounded = wholeNumber({ min, max });
  const from = `from ${formatQuantity(min, unit)} to ${formatQuantity(max, unit)}`;
  return {
    description,
    default: value,
    unit,
    ...(multipleOf === undefined
      ? { schema: bounded, rule: from }
      : {
          schema: v.pipe(bounded, v.multipleOf(multipleOf)),
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
    schema: wholeNumber({ min, max }),
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
    schema: v.pipe(v.number(), v.minValue(min), v.maxValue(max)),
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
  return { description, default: false, text: "flag", schema: v.boolean(), rule: "true or false" };
}

export function oneOf<const Choice extends string>(
  description: string,
  value: Choice,
  choices: readonly Choice[],
): OptionDefinition<Choice> {
  return {
    description,
    default: value,
    schema: v.picklist(choices),
    rule: `one of ${choices.join(", ")}`,
  };
}

/** NUL ends a path for the operating system. */
const pathText = v.pipe(v.string(), v.minLength(1), v.maxLength(4096), v.excludes("\0"));
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
  const isAccepted = (candidate: string): boolean => {
    try {
      accepts(candidate);
      return true;
    } catch {
      return false;
    }
  };
  const schema = v.pipe(v.string(), v.check(isAccepted));
  return { description, default: value, schema, rule };
}

export function optionalText(
  description: string,
  rule: string,
  accepts: (text: string) => unknown,
): OptionDefinition<string | undefined> {
  return { ...text(description, "", rule, accepts), default: undefined };
}

/** RFC 1123: labels of up to 63 letters, digits and inner hyphens. */
const HOST_NAME =
  /^(?!.{254})[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?(?:\.[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?)*\.?$/i;
const hostText = v.union([v.pipe(v.string(), v.ip()), v.pipe(v.string(), v.regex(HOST_NAME))]);

export function address(description: string, value: string): OptionDefinition<string> {
  return {
    description,
    default: value,
    schema: hostText,
    rule: "an IP address or a host name",
  };
}
