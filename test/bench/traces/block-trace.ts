/**
 * Reads the block traces of the ARC paper as redistributed by moka-rs/cache-trace: text under zstd, a line a request: first block, number of
 * blocks, ignored, request number. They are never part of this repository: `--traces DIR` or PINION_TRACES names the folder they are in.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";

const ACCESSES_MAX = 6_000_000;

export interface BlockTrace {
  /** Block numbers in order of their accesses, 6 million at most. */
  readonly blocks: Uint32Array;
  /** Different ones among them. */
  readonly distinct: number;
}

/** Sizes as shares of a trace's different blocks, and two in blocks: the 17 cases that policies are compared on. */
export const REFERENCE_CASES: readonly { trace: string; share?: number; pages?: number }[] = [
  ...["OLTP", "P12", "P2", "P3", "P6"].flatMap((trace) =>
    [0.05, 0.15, 0.4].map((share) => ({ trace, share })),
  ),
  { trace: "OLTP", pages: 1_000 },
  { trace: "OLTP", pages: 10_000 },
];

const NEWLINE = 10;
const SPACE = 32;
const ZERO = 48;

let last: { path: string; trace: BlockTrace } | undefined;

/** The trace last read stays in memory: cases come in order. */
export function readTrace(dir: string, name: string): BlockTrace {
  const path = join(dir, `${name}.lis.zst`);
  if (last?.path === path) return last.trace;
  const text = zstdDecompressSync(readFileSync(path));
  const blocks = new Uint32Array(ACCESSES_MAX);
  let count = 0;
  for (let i = 0; i < text.length && count < ACCESSES_MAX; i++) {
    const fields = [0, 0, 0, 0];
    for (let field = 0; i < text.length && text[i] !== NEWLINE; i++) {
      if (text[i] === SPACE) field++;
      else if (text[i]! >= ZERO) fields[field] = fields[field]! * 10 + text[i]! - ZERO;
    }
    const [first, length] = fields as [number, number];
    for (let b = 0; b < length && count < ACCESSES_MAX; b++) blocks[count++] = first + b;
  }
  const trace = {
    blocks: blocks.subarray(0, count),
    distinct: new Set(blocks.subarray(0, count)).size,
  };
  last = { path, trace };
  return trace;
}
