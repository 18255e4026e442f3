/**
 * Arguments of an actor's method as people type them: JSON where it is JSON, else the word itself.
 *
 *     3 → 3    true → true    '{"a":1}' → object    hello → "hello"    '"3"' → "3"    null → null
 *
 * A word that begins like an object, a list or a quoted text and is no JSON is a typing mistake, not a text: it is refused.
 */
import { messageOf } from "@pinion/core";
import { CliError } from "../cli-error.ts";

/** @throws `usage` */
export function parseArgument(word: string): unknown {
  try {
    return JSON.parse(word) as unknown;
  } catch (error) {
    if (!/^\s*[[{"]/.test(word)) return word;
    throw new CliError("usage", `the argument ${word} is not JSON: ${messageOf(error)}`, {
      details: { argument: word },
      hints: [`for a text that begins like this, quote it as JSON: '${JSON.stringify(word)}'`],
    });
  }
}
