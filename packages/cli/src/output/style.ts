/**
 * Colours: on a terminal only, and not where NO_COLOR is set (no-color.org) or the terminal is "dumb".
 */
import { styleText } from "node:util";

export type Style = Parameters<typeof styleText>[0];
export type Paint = (style: Style, text: string) => string;

export const plain: Paint = (_style, text) => text;
const coloured: Paint = (style, text) => styleText(style, text, { validateStream: false });

export function paintFor(isTerminal: boolean, env: NodeJS.ProcessEnv): Paint {
  const noColor = env["NO_COLOR"] !== undefined && env["NO_COLOR"] !== "";
  return isTerminal && !noColor && env["TERM"] !== "dumb" ? coloured : plain;
}
