/** What the guest does: PINION_TASK is `work`, or `look` at a disk that was cut. */
import { closeSync, constants, openSync, readFileSync, writeSync } from "node:fs";
import { MARK } from "../../guest/mark.ts";
import { MARK_BYTES, Marks } from "../marks.ts";
import type { LookRequest } from "./look.ts";

const DISK = "/disk";
const MARKS_DISK = "/dev/vda2";

const say = (text: string): void => console.log(`${MARK} ${text}`);

export async function runGuest(): Promise<void> {
  const { env } = process;
  say(`starts: Linux ${readFileSync("/proc/version", "latin1").split(" ")[2]}, ${process.version}`);
  if (env["PINION_TASK"] === "look") {
    const { look } = await import("./look.ts");
    const request = Buffer.from(env["PINION_REQUEST"] ?? "", "base64url").toString();
    say(`found ${JSON.stringify(await look(DISK, JSON.parse(request) as LookRequest))}`);
    return;
  }
  const { runWork } = await import("./work.ts");
  // Past the cache and without a flush: it must not make durable what it speaks of.
  const fd = openSync(MARKS_DISK, constants.O_WRONLY | constants.O_DIRECT);
  const marks = new Marks(alignedBlock());
  const markChanged = (): void => void writeSync(fd, marks.bytes, 0, MARK_BYTES, 0);
  const seed = Number(env["PINION_SEED"]);
  const operations = Number(env["PINION_OPERATIONS"]);
  await runWork({ dir: DISK, seed, operations, marks, markChanged, say });
  say(`total ${marks.total}`);
  closeSync(fd);
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
