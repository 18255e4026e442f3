/**
 * Real power cuts, as far as a machine can have them that goes on: a guest in QEMU writes to a disk whose writes and flushes are logged, in the order
 * in which they were done, by QEMU's `blklogwrites`. From that log the disks are made that a power cut could have left (cuts.ts), and each is
 * mounted and opened again: the stores open, everything acknowledged is there and whole, nothing else is, and they go on. Here everything is real
 * that the simulations leave out: the file system, LMDB, and what the kernel makes of our flushes.
 *
 *     pnpm test:power-cuts [--cuts N|all] [--seed S] [--operations N] [--keep] [--in-guest] [--log DIR]
 *
 * | option       | what it does                                                                                        |
 * |--------------|-----------------------------------------------------------------------------------------------------|
 * | --cuts       | disks to make and open, half of them at a flush and half behind one; default 200                      |
 * | --operations | of each of the two subjects (subjects.ts); default 1,500                                             |
 * | --keep       | leaves the folder with the log; a failure always does                                                |
 * | --log        | cuts the log of such a folder instead of a new one: with the same seed the same cuts                   |
 * | --in-guest   | opens the disks in a guest, as is done where this machine does not let us mount                          |
 *
 * Acknowledgements are ordered against writes by marks on the same disk, in a partition of their own (marks.ts): written past the page cache and
 * without a flush, once an operation is acknowledged and before the next of its ledger is asked for. So at any entry of the log every ledger
 * has what the last mark says, or one operation more. The seed draws what is asked for and where it is cut; the guest's timing it does not.
 *
 * What is not covered: a write that was done, and logged, while a flush was under way counts as flushed. QEMU's flush takes no time here, so
 * that hardly happens. Exit code 77 and the reason on the last line when it cannot be done here.
 */
import {
  closeSync,
  copyFileSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
} from "node:fs";
import { freemem, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { messageOf, randomSeed, seededRng } from "@pinion/core";
import { writeInitramfs } from "../guest/initramfs.ts";
import { prerequisites, runs, type Prerequisites } from "../guest/prerequisites.ts";
import { runMachine } from "../guest/virtual-machine.ts";
import { lookHere, lookInGuest, problemsOf, taskOf, type Look } from "./check.ts";
import { DiskImages, isFlush, marksBefore, planCuts, type Cut } from "./cuts.ts";
import { makeDisk } from "./disk.ts";
import { LEDGERS } from "./ledger.ts";
import type { Marks } from "./marks.ts";
import { SUBJECTS, type SubjectName } from "./subject-names.ts";
import { WriteLog } from "./write-log.ts";

const EXIT_SKIPPED = 77;
/** Room for the log; what is not written takes none. */
const LOG_BYTES_MAX = 16 * 2 ** 30;
const GUEST_MIB = 2_048;
/** An operation takes an emulated machine 20 ms, its start with that of each life two minutes. */
const GUEST_MS_MAX = 400_000;
const OPERATION_MS_MAX = 500;
/** How many cuts go on, and how many of the store also look at the host that was stopped before. */
const GOES_ON = 0.25;
const LOOKS_BACK = 0.1;

const HERE = dirname(fileURLToPath(import.meta.url));
const CACHE = join(HERE, "../../node_modules/.cache/pinion-guest");
const seconds = (sinceMs: number): string => ((performance.now() - sinceMs) / 1000).toFixed(1);

const options = parseArgs({
  options: {
    cuts: { type: "string", default: "200" },
    seed: { type: "string" },
    operations: { type: "string", default: "1500" },
    keep: { type: "boolean", default: false },
    "in-guest": { type: "boolean", default: false },
    log: { type: "string" },
  },
}).values;
const seed = options.seed === undefined ? randomSeed() : wholeNumber("seed", options.seed);
const operations = wholeNumber("operations", options.operations);
const wanted = options.cuts === "all" ? Infinity : wholeNumber("cuts", options.cuts);

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`error[USAGE]: --${name} takes a whole number, not "${text}"`);
  process.exit(2);
}

async function main(): Promise<number> {
  const found = findPrerequisites();
  if (typeof found === "string") {
    console.log(`skipped: ${found}`);
    return EXIT_SKIPPED;
  }
  console.log(`seed ${seed}`);
  mkdirSync(CACHE, { recursive: true });
  const dir = options.log ?? mkdtempSync(join(tmpdir(), "pinion-power-cuts-"));
  let failed = true;
  try {
    if (options.log === undefined) await runGuest(found, dir);
    failed = (await cutAll(found, dir)) > 0;
  } catch (e) {
    console.log(`failed: ${messageOf(e)}`);
  }
  if (failed || options.keep || options.log !== undefined)
    console.log(
      `the log is kept: pnpm test:power-cuts --log ${dir} --seed ${seed} --cuts ${options.cuts}`,
    );
  else rmSync(dir, { recursive: true, force: true });
  return failed ? 1 : 0;
}

/** @returns or why it cannot be done here */
function findPrerequisites(): Prerequisites | string {
  if (!runs("mkfs.ext4", "-V")) return "mkfs.ext4 is missing (apt-get install e2fsprogs)";
  const freeMib = Math.floor(freemem() / 2 ** 20);
  if (freeMib < GUEST_MIB) return `the guest takes ${GUEST_MIB} MiB, and ${freeMib} are free`;
  return prerequisites(CACHE);
}

/** Leaves `empty-disk` and the `log` of what was written to it. */
async function runGuest(found: Prerequisites, dir: string): Promise<void> {
  const startMs = performance.now();
  const [initramfs, empty, disk, log] = ["initramfs", "empty-disk", "disk", "log"].map((name) =>
    join(dir, name),
  ) as [string, string, string, string];
  writeInitramfs(initramfs, dir, {
    start: join(HERE, "guest/start.mjs"),
    trace: join(HERE, "guest/trace.mjs"),
    kernelModules: found.diskModules,
  });
  makeDisk(empty);
  copyFileSync(empty, disk);
  const fd = openSync(log, "w");
  ftruncateSync(fd, LOG_BYTES_MAX);
  closeSync(fd);
  let total = -1;
  const ended = await runMachine({
    prerequisites: found,
    initramfs,
    processors: 2,
    memoryMib: GUEST_MIB,
    devices: [
      ...["-blockdev", `driver=file,node-name=disk,filename=${disk},cache.no-flush=on`],
      ...["-blockdev", `driver=file,node-name=log,filename=${log},cache.no-flush=on`],
      "-blockdev",
      "driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size=512",
      "-device",
      "virtio-blk-pci,drive=logged,write-cache=on,discard=off,write-zeroes=off",
    ],
    append: taskOf("work", { seed, operations }),
    msMax: GUEST_MS_MAX + SUBJECTS.length * operations * OPERATION_MS_MAX,
    printed: (line, said) => {
      if (said.startsWith("total ")) total = Number(said.slice(6));
      if (!said.startsWith("acknowledged "))
        console.log(`${seconds(startMs).padStart(6)}  ${line}`);
    },
  });
  rmSync(disk);
  if (ended !== "exit 0")
    throw new Error(`the guest did not come to its end: ${ended ?? "cut off"}`);
  const written = new WriteLog(log);
  const { entries } = written;
  const flushes = entries.filter(isFlush).length;
  console.log(
    `guest: ${total} operations acknowledged, ${entries.length - flushes} writes and ${flushes} flushes in ${seconds(startMs)} s`,
  );
  const marked = marksBefore(written, entries.length).total;
  written.close();
  if (marked !== total) throw new Error(`the log has marks of ${marked} operations, not ${total}`);
}

/** @returns how many have failed */
async function cutAll(found: Prerequisites, dir: string): Promise<number> {
  const startMs = performance.now();
  const [base, image] = [join(dir, "base-disk"), join(dir, "cut-disk")];
  copyFileSync(join(dir, "empty-disk"), base);
  const look = chooseLook(found, dir);
  const log = new WriteLog(join(dir, "log"));
  const rng = seededRng(seed);
  const cuts = planCuts(log, rng.fork("cuts"), wanted);
  const images = new DiskImages(log, seed, base);
  const end = marksBefore(log, log.entries.length);
  let failures = 0;
  for (const [i, cut] of cuts.entries()) {
    const { survived, of } = images.make(cut, image);
    const marks = marksBefore(log, cut.end);
    const own = rng.fork(`look ${cut.kind} ${cut.end}`);
    const request = {
      subjects: subjectsAt(marks, end, own.chance(LOOKS_BACK)),
      goesOn: own.chance(GOES_ON),
    };
    let problems: readonly string[];
    try {
      problems = problemsOf(await look(image, request), marks);
    } catch (e) {
      problems = [messageOf(e)];
    }
    if (problems.length > 0) {
      failures++;
      console.log(
        `FAILED  cut ${i + 1}, ${cut.kind} flush ${cut.flush} with ${survived} of ${of} entries behind it, ${marks.total} acknowledged`,
      );
      for (const problem of problems.slice(0, 5)) console.log(`        ${problem}`);
    }
    if ((i + 1) % 20 === 0) console.log(`${seconds(startMs).padStart(6)}  ${i + 1} cuts`);
  }
  log.close();
  console.log(summary(cuts, failures, end, seconds(startMs)));
  for (const path of [base, image]) rmSync(path, { force: true });
  return failures;
}

function chooseLook(found: Prerequisites, dir: string): Look {
  if (!options["in-guest"]) {
    const here = lookHere(join(dir, "mounted"), join(dir, "empty-disk"), join(CACHE, "compiled"));
    if (typeof here !== "string") return here;
    console.log(`disks are opened in a guest: ${here}`);
  }
  return lookInGuest(found, join(dir, "initramfs"));
}

/** The subject at work; where one has ended and the other only begins, both. */
function subjectsAt(marks: Marks, end: Marks, looksBack: boolean): SubjectName[] {
  const [first, second] = SUBJECTS;
  if (sumOf(marks, first) < sumOf(end, first)) return [first];
  return sumOf(marks, second) === 0 || looksBack ? [first, second] : [second];
}

function sumOf(marks: Marks, subject: SubjectName): number {
  let sum = 0;
  for (let ledger = 0; ledger < LEDGERS; ledger++) sum += marks.of(subject, ledger);
  return sum;
}

function summary(cuts: readonly Cut[], failures: number, end: Marks, took: string): string {
  const at = cuts.filter(({ kind }) => kind === "at").length;
  return `power cuts: ${cuts.length} (${at} at a flush, ${cuts.length - at} behind one) of ${end.total} acknowledged operations, ${failures} failed, in ${took} s`;
}

process.exitCode = await main();
