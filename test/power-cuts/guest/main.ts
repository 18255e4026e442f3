/**
 * What the guest does. PINION_TASK says it: `work` runs the lives of both subjects, each a `life` in a process of its own; `look` opens a disk
 * that was cut.
 */
import { spawnSync } from "node:child_process";
import { constants, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { MARK } from "../../guest/mark.ts";
import { MARK_BYTES, Marks } from "../marks.ts";
import { SUBJECTS } from "../subject-names.ts";
import type { LookRequest } from "./look.ts";
import type { Life } from "./work.ts";

const DISK = "/disk";
const MARKS_DISK = "/dev/vda2";

const say = (text: string): void => console.log(`${MARK} ${text}`);

export async function runGuest(entry: string): Promise<void> {
  const { PINION_TASK: task, PINION_REQUEST: text = "" } = process.env;
  const request: unknown = JSON.parse(Buffer.from(text, "base64url").toString());
  if (task === "work") return work(entry, request as WorkRequest);
  if (task === "look") {
    const { look } = await import("./look.ts");
    say(`found ${JSON.stringify(await look(DISK, request as LookRequest))}`);
    return;
  }
  const { live } = await import("./work.ts");
  const life = request as Life;
  const { marks, markChanged } = openMarks();
  await live(life, { dir: join(DISK, life.subject), marks, markChanged, say });
}

export interface WorkRequest {
  readonly seed: number;
  /** Of each subject. */
  readonly operations: number;
}

function work(entry: string, { seed, operations }: WorkRequest): void {
  const half = Math.ceil(operations / 2);
  for (const subject of SUBJECTS)
    for (const end of ["kill", "stop"] as const) {
      const request = { subject, end, seed, operations: half } satisfies Life;
      const PINION_REQUEST = Buffer.from(JSON.stringify(request)).toString("base64url");
      const { status, signal } = spawnSync(process.execPath, [...process.execArgv, entry], {
        env: { ...process.env, PINION_TASK: "life", PINION_REQUEST },
        stdio: "inherit",
      });
      if (end === "kill" ? signal === "SIGKILL" : status === 0) continue;
      throw new Error(`the ${subject} ended with ${signal ?? status}, not with a ${end}`);
    }
  say(`total ${openMarks().marks.total}`);
}

/** Past the cache and without a flush: a mark must not make durable what it speaks of. */
function openMarks(): { readonly marks: Marks; readonly markChanged: () => void } {
  const fd = openSync(MARKS_DISK, constants.O_RDWR | constants.O_DIRECT);
  const block = alignedBlock();
  readSync(fd, block, 0, MARK_BYTES, 0);
  return {
    marks: new Marks(block),
    markChanged: () => void writeSync(fd, block, 0, MARK_BYTES, 0),
  };
}

/** There is no other type for it without those of browsers. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};

/** Where the memory of a Buffer begins nobody says; this begins with a page. */
function alignedBlock(): Uint8Array {
  const memory = new WebAssembly.Memory({ initial: 1 });
  return new Uint8Array(memory.buffer, 0, MARK_BYTES);
}
