/** Numbers and bars as text. Colours appear on a terminal only, and not where NO_COLOR is set. */
import { relative } from "node:path";
import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

export const paint = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });

const format = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
export const integer = (n: number): string => format.format(n);

export const milliseconds = (ms: number): string =>
  ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;

/** MiB below a GiB, GiB above. */
export const size = (bytes: number): string =>
  bytes < 2 ** 30 ? `${Math.round(bytes / 2 ** 20)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;

/** @param share 0 to 1 */
export function bar(share: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return "█".repeat(full) + "░".repeat(width - full);
}

/** Text cut or filled to exactly `width` characters. */
export const column = (text: string, width: number): string =>
  text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);

/** Relative to where we are, unless that leads out of it. */
export function pathText(path: string): string {
  const below = relative(process.cwd(), path);
  return below.startsWith("..") ? path : below || ".";
}
