/**
 * One life of one subject: writes ledgers, several at once and one operation of each at a time, and marks each acknowledgement before it asks
 * for anything else of that ledger.
 *
 * The first life ends by SIGKILL, with operations under way: what the next one finds then is what the kernel has, flushed or not, and whatever it
 * builds on must be made durable by itself. The second one stops in order. One subject comes after the other: the flush of one would make durable
 * what the other has forgotten to flush.
 */
import { setTimeout } from "node:timers/promises";
import { isPinionError, seededRng } from "@pinion/core";
import { LEDGERS } from "../ledger.ts";
import type { SubjectName } from "../subject-names.ts";
import { openSubject, type Subject } from "../subjects.ts";
import type { Marks } from "../marks.ts";

const WRITERS = 8;
const OPEN_ATTEMPTS = 3;
/** Wait of a writer that was refused. */
const REFUSED_MS = 20;
/** At a moment that no acknowledgement chooses. */
const DYING_MS_MAX = 50;

export interface Life {
  readonly subject: SubjectName;
  readonly end: "kill" | "stop";
  readonly seed: number;
  /** Acknowledged ones after which it ends. */
  readonly operations: number;
}

export interface LifePorts {
  /** The subject's folder. */
  readonly dir: string;
  readonly marks: Marks;
  /** Takes the marks to the disk. */
  readonly markChanged: () => void;
  readonly say: (text: string) => void;
}

export async function live(life: Life, ports: LifePorts): Promise<void> {
  const { dir, say, marks } = ports;
  const subject = await opened(life.subject, dir);
  const found = await takeUp(life, ports, subject);
  say(`${life.subject} is open, with ${found} operations that were not acknowledged`);
  await writeLedgers(life, ports, subject, async () => {
    await setTimeout(seededRng(life.seed).fork(`death of ${life.subject}`).below(DYING_MS_MAX));
    say(`${life.subject} dies, ${marks.total} acknowledged`);
    process.kill(process.pid, "SIGKILL");
  });
  say(`${life.subject} stops, ${marks.total} acknowledged: ${await subject.summary()}`);
  await subject.close();
}

/** Where the machine outside is busy as well, a host's threads do not start in the time that it gives them: the second time they are loaded. */
async function opened(name: SubjectName, dir: string): Promise<Subject> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await openSubject(name, dir);
    } catch (e) {
      if (!isPinionError(e, "unavailable") || attempt === OPEN_ATTEMPTS) throw e;
    }
  }
}

/** What a reader was shown counts as acknowledged. @returns how many operations were not before */
async function takeUp(life: Life, ports: LifePorts, subject: Subject): Promise<number> {
  const { marks, markChanged } = ports;
  let found = 0;
  for (let ledger = 0; ledger < LEDGERS; ledger++) {
    const { count, problems } = await subject.read(ledger);
    const acknowledged = marks.of(life.subject, ledger);
    if (problems.length > 0) throw new Error(problems.join("; "));
    if (count < acknowledged || count > acknowledged + 1)
      throw new Error(`ledger ${ledger} has ${count}, ${acknowledged} were acknowledged`);
    if (count === acknowledged) continue;
    found++;
    marks.acknowledged(life.subject, ledger, count);
    markChanged();
  }
  return found;
}

/** @param die where this life ends so: called once; everybody goes on until it happens */
async function writeLedgers(
  { subject: name, end, seed, operations }: Life,
  { marks, markChanged, say }: LifePorts,
  subject: Subject,
  die: () => Promise<void>,
): Promise<void> {
  let acknowledged = 0;
  let asked = 0;
  const writer = async (own: number): Promise<void> => {
    const rng = seededRng(seed).fork(`${name} ${end} ${own}`);
    while (end === "kill" || asked++ < operations) {
      const ledger = own + WRITERS * rng.below(LEDGERS / WRITERS);
      const operation = marks.of(name, ledger) + 1;
      await accepted(() => subject.write(ledger, operation));
      marks.acknowledged(name, ledger, operation);
      markChanged();
      say(`acknowledged ${marks.total}`);
      if (++acknowledged === operations && end === "kill") void die();
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
