/** What the example takes on its command line. */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parseQuantity } from "@pinion/core";
import type { Fault } from "./flight-stream.ts";

export interface DemoOptions {
  readonly durationMs: number;
  readonly inFlight: number;
  readonly dataDir: string;
  /** Of the one large actor; 0: without. */
  readonly stateBytes: number;
  readonly fault: Fault;
}

export class UsageError extends Error {}

export const USAGE = `usage: npm start -- [--seconds N] [--in-flight N] [--data-dir DIR] [--state SIZE] [--fault loss|double]

  --seconds N      how long to stream, 1 to 3600 (20); the host is killed half-way
  --in-flight N    calls under way at a time, 1 to 4096 (256)
  --data-dir DIR   where the host keeps its data (PINION_DATA_DIR, or .pinion in the repository)
  --state SIZE     state of the one large actor at the end, 16MiB to 8GiB (2GiB), or 0 for none; less if the
                   machine has not got the memory, the disk, or the native part
  --fault KIND     loses one record or sends one twice on purpose: the check at the end must fail`;

export const DEFAULT_DATA_DIR = join(import.meta.dirname, "..", "..", "..", ".pinion");
const FAULTS: readonly string[] = ["none", "loss", "double"] satisfies Fault[];

/** @throws UsageError */
export function readOptions(argv: readonly string[], env: NodeJS.ProcessEnv): DemoOptions | "help" {
  const values = parse(argv);
  if (values.help === true) return "help";
  const fault = values.fault ?? "none";
  if (!FAULTS.includes(fault)) throw new UsageError(`--fault takes loss or double, not ${fault}`);
  return {
    durationMs: number("--seconds", values.seconds ?? "20", 1, 3600) * 1000,
    inFlight: Math.floor(number("--in-flight", values["in-flight"] ?? "256", 1, 4096)),
    // An empty variable is an unset one.
    dataDir: values["data-dir"] ?? (env["PINION_DATA_DIR"] || DEFAULT_DATA_DIR),
    stateBytes: stateBytesOf(values.state ?? "2GiB"),
    fault: fault as Fault,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        seconds: { type: "string" },
        "in-flight": { type: "string" },
        "data-dir": { type: "string" },
        state: { type: "string" },
        fault: { type: "string" },
        help: { type: "boolean" },
      },
    }).values;
  } catch (e) {
    throw new UsageError(e instanceof Error ? e.message : String(e));
  }
}

function stateBytesOf(text: string): number {
  const bytes = parseQuantity(text, "bytes");
  if (bytes === 0 || (bytes !== undefined && bytes >= 16 * 2 ** 20 && bytes <= 8 * 2 ** 30))
    return bytes;
  throw new UsageError(`--state takes 0 or 16MiB to 8GiB, not ${JSON.stringify(text)}`);
}

function number(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= min && value <= max)) {
    throw new UsageError(
      `${name} takes a number from ${min} to ${max}, not ${JSON.stringify(text)}`,
    );
  }
  return value;
}
