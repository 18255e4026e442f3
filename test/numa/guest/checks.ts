/** What the guest prints, a line a check: the machine outside reads it. A failed check does not end the others. */
import { readFileSync } from "node:fs";
import { MARK } from "../../guest/mark.ts";

export const MIB = 1024 * 1024;

export async function check(name: string, body: () => void | Promise<void>): Promise<void> {
  const startMs = performance.now();
  try {
    await body();
    console.log(`${MARK} ok ${name} (${Math.round(performance.now() - startMs)} ms)`);
  } catch (e) {
    const text = e instanceof Error ? (e.stack ?? e.message) : String(e);
    console.log(`${MARK} failed ${name}: ${text.replaceAll("\n", " | ")}`);
  }
}

export const megabytes = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;

/** "node 0 8.0 MiB, node 1 8.0 MiB" */
export const byNodeText = (bytes: ReadonlyMap<number, number> | undefined): string =>
  [...(bytes ?? [])].map(([node, there]) => `node ${node} ${megabytes(there)}`).join(", ");

/** The processors a thread may run on. @param status its file in /proc */
export function cpusOf(status: string): string | undefined {
  return /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(status, "latin1"))?.[1];
}
