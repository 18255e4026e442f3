/**
 * What is written, and read back after a cut: ledgers whose whole content follows from their number and how many operations they have had. So
 * what is missing, torn or left over shows without a record of what was done.
 *
 * | operation n of ledger l                 | where                       |
 * |-----------------------------------------|-----------------------------|
 * | `amountOf(l, n)`                        | row n − 1 of a column       |
 * | {n, `textOf(l, n)`}                     | slot n mod 24 of a map      |
 * | count n, sum of all amounts (hosts)     | state of the actor          |
 */
import { column, map, type StructureHandles } from "@pinion/storage";

export const LEDGERS = 24;
const SLOTS = 24;
const TEXT_CHARACTERS_MAX = 3_000;

export const structures = { amounts: column("f64"), entries: map({ key: "string" }) };
export type Handles = StructureHandles<typeof structures>;

/** What a reader has found in a ledger. */
export interface Seen {
  readonly count: number;
  readonly problems: readonly string[];
}

export const ledgerName = (ledger: number): string => `ledger-${ledger}`;

/** Evenly over 32 bits (murmur3's finaliser). */
function mixed(ledger: number, operation: number): number {
  let h = Math.imul(ledger + 1, 0x9e3779b1) ^ Math.imul(operation, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

export const amountOf = (ledger: number, operation: number): number =>
  mixed(ledger, operation) % 1_000_003;

export function sumOf(ledger: number, count: number): number {
  let sum = 0;
  for (let n = 1; n <= count; n++) sum += amountOf(ledger, n);
  return sum;
}

function textOf(ledger: number, operation: number): string {
  const word = `${ledger}.${operation}.${mixed(operation, ledger)} `;
  const characters = mixed(ledger, operation) % TEXT_CHARACTERS_MAX;
  return word.repeat(Math.ceil(characters / word.length)).slice(0, characters);
}

/** Operation `operation`, which comes after all those below it. */
export async function write(handles: Handles, ledger: number, operation: number): Promise<void> {
  await handles.amounts.append(amountOf(ledger, operation));
  const entry = { operation, text: textOf(ledger, operation) };
  await handles.entries.set(`slot-${operation % SLOTS}`, entry);
}

export async function read(handles: Handles, ledger: number): Promise<Seen> {
  const problems: string[] = [];
  const count = await handles.amounts.length;
  for (let row = 0; row < count; row++) {
    const amount = await handles.amounts.get(row);
    if (amount !== amountOf(ledger, row + 1))
      problems.push(`${ledgerName(ledger)}: row ${row} of ${count} is ${amount}`);
  }
  const expected = new Map<string, string>();
  for (let n = Math.max(1, count - SLOTS + 1); n <= count; n++)
    expected.set(`slot-${n % SLOTS}`, JSON.stringify({ operation: n, text: textOf(ledger, n) }));
  for await (const [slot, entry] of handles.entries.range()) {
    const found = JSON.stringify(entry);
    if (expected.get(slot) !== found)
      problems.push(
        `${ledgerName(ledger)}: after ${count} operations ${slot} has ${found.slice(0, 60)}…`,
      );
    expected.delete(slot);
  }
  for (const slot of expected.keys())
    problems.push(`${ledgerName(ledger)}: after ${count} operations ${slot} has nothing`);
  return { count, problems };
}
