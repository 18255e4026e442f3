/**
 * Writes ledgers, several at once and one operation of each at a time, in two lives of each subject, and says after each acknowledgement that it
 * has come, before it asks for anything else of that ledger. One subject after the other: the flush of one would make durable what the
 * other has forgotten to flush.
 */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { isPinionError, seededRng } from "@pinion/core";
import { LEDGERS } from "../ledger.ts";
import { SUBJECTS } from "../subject-names.ts";
import { openSubject, type Subject } from "../subjects.ts";
import type { Marks } from "../marks.ts";

const WRITERS = 8;
const LIVES = 2;
/** Wait of a writer that was refused. */
const REFUSED_MS = 20;

export interface Work {
  /** Folder in which each subject has its own. */
  readonly dir: string;
  readonly seed: number;
  /** Of each subject. */
  readonly operations: number;
  readonly marks: Marks;
  /** Takes the marks to the disk. */
  readonly markChanged: () => void;
  readonly say: (text: string) => void;
}

export async function runWork(work: Work): Promise<void> {
  const { dir, operations, say, marks } = work;
  for (const name of SUBJECTS)
    for (let life = 1; life <= LIVES; life++) {
      const subject = await openSubject(name, join(dir, name));
      say(`${name} opened, life ${life}`);
      await writeLedgers(work, subject, Math.ceil(operations / LIVES));
      say(`${name} has had ${marks.total} acknowledged: ${await subject.summary()}`);
      await subject.close();
    }
}

async function writeLedgers(work: Work, subject: Subject, operations: number): Promise<void> {
  const { marks, markChanged, seed, say } = work;
  const { name } = subject;
  let left = operations;
  const writer = async (own: number): Promise<void> => {
    const rng = seededRng(seed).fork(`${name} ${own}`);
    while (left-- > 0) {
      const ledger = own + WRITERS * rng.below(LEDGERS / WRITERS);
      const operation = marks.of(name, ledger) + 1;
      await accepted(() => subject.write(ledger, operation));
      marks.acknowledged(name, ledger, operation);
      markChanged();
      say(`acknowledged ${marks.total}`);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, own) => writer(own)));
}

/** An emulated machine is slow: what is refused for that was not done, and is asked for again. */
async function accepted(write: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await write();
    } catch (e) {
      if (!isPinionError(e, "overloaded")) throw e;
      await setTimeout(e.retryAfterMs ?? REFUSED_MS);
    }
  }
}
