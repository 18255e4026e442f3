/** Opens what a cut has left, and says what is in it. */
import { join } from "node:path";
import { isPinionError } from "@pinion/core";
import { LEDGERS } from "../ledger.ts";
import type { SubjectName } from "../subject-names.ts";
import { openSubject, type Subject } from "../subjects.ts";

/** Of one subject. */
export interface Found {
  readonly subject: SubjectName;
  /** Operations of each ledger. */
  readonly counts: readonly number[];
  readonly problems: readonly string[];
}

export interface LookRequest {
  readonly subjects: readonly SubjectName[];
  /** Whether it must go on: one more operation of each ledger, and another life that has them. */
  readonly goesOn: boolean;
}

export async function look(dir: string, { subjects, goesOn }: LookRequest): Promise<Found[]> {
  const found: Found[] = [];
  for (const name of subjects) found.push(await lookAt(name, join(dir, name), goesOn));
  return found;
}

async function lookAt(name: SubjectName, dir: string, goesOn: boolean): Promise<Found> {
  const counts: number[] = [];
  const problems: string[] = [];
  try {
    const first = await openSubject(name, dir);
    await counted(first, counts, problems);
    if (goesOn)
      for (const [ledger, count] of counts.entries()) await first.write(ledger, count + 1);
    await first.close();
    if (!goesOn) return { subject: name, counts, problems };
    const second = await openSubject(name, dir);
    const after: number[] = [];
    await counted(second, after, problems);
    await second.close();
    const stuck = counts.findIndex((count, ledger) => after[ledger] !== count + 1);
    if (stuck >= 0)
      problems.push(`ledger ${stuck} had ${counts[stuck]}, and ${after[stuck]} after one more`);
  } catch (e) {
    problems.push(
      isPinionError(e) ? `${e.code}: ${e.message}` : `not typed: ${String((e as Error).stack)}`,
    );
  }
  return { subject: name, counts, problems };
}

async function counted(subject: Subject, counts: number[], problems: string[]): Promise<void> {
  for (let ledger = 0; ledger < LEDGERS; ledger++) {
    const seen = await subject.read(ledger);
    counts.push(seen.count);
    problems.push(...seen.problems);
  }
}
