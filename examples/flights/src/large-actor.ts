/**
 * The part of the example in which one actor holds far more than a JavaScript heap could: filled, scanned, let go, brought back. On a host
 * of its own, with a small heap, whose data is gone afterwards.
 *
 * I1 what a scan adds up is checked against what it must be: a wrong sum is an error.
 */
import { mkdtemp, rm, statfs } from "node:fs/promises";
import { connect, type ActorRef } from "@pinion/client";
import type { ActorMemoryStats, InspectAnswer, PinsAnswer } from "@pinion/runtime";
import type { History } from "./actors.ts";
import { HostProcess } from "./host-process.ts";
import { processMemory, type ProcessMemory } from "./process-memory.ts";
import { integer, milliseconds, paint, size } from "./text.ts";

const MIB = 2 ** 20;
const HEAP_BYTES = 256 * MIB;
/** What a call adds: a little less than the 16 MiB that one turn may change. */
const ROWS_PER_CALL = 1_900_000;
const ROW_BYTES = 8;
/** While it is filled: log, checkpoint, and pages that are written anew. */
const DISK_PER_BYTE = 3;
const BYTES_MIN = 16 * MIB;
const PORTABLE_BYTES = 256 * MIB;
const SCANS = 4;
const POLL_MS = 50;

const say = (text: string): void => console.log(text);
const line = (what: string, text: string): void => say(`  ${what.padEnd(12)}${text}`);

type Ref = ActorRef<typeof History>;
type Scan = Awaited<ReturnType<Ref["scan"]>>;

/** @param dataDir the data goes beside it: the same disk */
export async function showLargeActor(
  dataDir: string,
  wantedBytes: number,
  signal: AbortSignal,
): Promise<void> {
  const dir = await mkdtemp(`${dataDir}-large-`);
  const crash = Promise.withResolvers<never>();
  crash.promise.catch(() => {});
  const request = { dataDir: dir, workerHeapBytes: HEAP_BYTES };
  const host = new HostProcess(request, (error) => crash.reject(error));
  signal.addEventListener("abort", () => crash.reject(signal.reason as Error));
  try {
    const { endpoint, adminEndpoint } = await host.start();
    await using client = await connect(endpoint);
    const actor = client.get<typeof History>("history", "century");
    const run = new LargeActor(actor, host.pid!, adminEndpoint);
    await Promise.race([run.show(dir, wantedBytes), crash.promise]);
  } finally {
    await host.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

class LargeActor {
  readonly #actor: Ref;
  readonly #pid: number;
  readonly #admin: string;

  constructor(actor: Ref, pid: number, adminEndpoint: string) {
    this.#actor = actor;
    this.#pid = pid;
    this.#admin = adminEndpoint;
  }

  async show(dir: string, wantedBytes: number): Promise<void> {
    const { memory, workers } = await this.#ask<PinsAnswer>("pins");
    const isNative = workers.every(({ door }) => door === "addon");
    const { bytes, because } = await sizeThatFits(wantedBytes, memory.pinBytes, isNative, dir);
    say(
      `\n${paint("bold", `One actor with ${size(bytes)} of state`)}, on a host whose JavaScript heap is limited to ${size(HEAP_BYTES)}` +
        (because === undefined ? "" : `\n  ${paint("yellow", because)}`),
    );
    const calls = Math.ceil(bytes / (ROWS_PER_CALL * ROW_BYTES));
    await this.#fill(calls);
    const rows = calls * ROWS_PER_CALL;
    const { best } = await this.#scan(rows);
    line(
      "scanned",
      `${integer(rows)} rows at ${paint("bold", `${rate(best)} GB/s`)}; the heap holds ${size(best.heapBytes)}`,
    );
    const full = await processMemory(this.#pid);
    await this.#deactivate();
    const empty = await processMemory(this.#pid);
    if (full !== undefined && empty !== undefined) line("deactivated", returned(full, empty));
    await this.#reactivate(rows);
  }

  async #fill(calls: number): Promise<void> {
    const startMs = performance.now();
    // One at a time: two such turns would not fit into the log's buffer together.
    for (let i = 0; i < calls; i++) await this.#actor.extend(ROWS_PER_CALL);
    const tookMs = performance.now() - startMs;
    const bytes = ROWS_PER_CALL * ROW_BYTES;
    line(
      "filled",
      `by ${calls} calls of ${size(bytes)}, each on disk before its answer: ${milliseconds(tookMs)}, ` +
        `${Math.round((calls * bytes) / MIB / (tookMs / 1000))} MiB/s`,
    );
  }

  /** Several times: the first one also compiles the loop. I1 */
  async #scan(rows: number): Promise<{ best: Scan; all: readonly Scan[] }> {
    const all: Scan[] = [];
    for (let i = 0; i < SCANS; i++) {
      const scan = await this.#actor.scan();
      if (scan.rows !== rows || scan.sum !== sumOf(rows)) {
        throw new Error(
          `a scan found ${scan.rows} rows with sum ${scan.sum} instead of ${rows} with ${sumOf(rows)}`,
        );
      }
      all.push(scan);
    }
    return { best: all.reduce((a, b) => (a.tookMs < b.tookMs ? a : b)), all };
  }

  async #deactivate(): Promise<void> {
    await this.#actor.rest();
    for (;;) {
      const { actor } = await this.#ask<InspectAnswer>("actor?id=history/century");
      if (actor.activation === "stored") return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async #reactivate(rows: number): Promise<void> {
    const startMs = performance.now();
    const stats = await this.#actor.memory();
    const tookMs = performance.now() - startMs;
    const ram = await processMemory(this.#pid);
    line(
      "reactivated",
      `in ${milliseconds(tookMs)}: ${pinned(stats)}${ram === undefined ? "" : `, RAM of the host ${size(ram.residentBytes)}`}`,
    );
    const { best, all } = await this.#scan(rows);
    line("scanned", `at ${rate(best)} GB/s; ${faults(all)}`);
  }

  async #ask<T>(path: string): Promise<T> {
    const response = await fetch(`http://${this.#admin}/api/v1/${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }
}

/** The largest size that pins and disk allow, halved from what is wanted. */
async function sizeThatFits(
  wantedBytes: number,
  pinBytes: number,
  isNative: boolean,
  dir: string,
): Promise<{ bytes: number; because: string | undefined }> {
  const { bavail, bsize } = await statfs(dir);
  const freeBytes = bavail * bsize;
  const fits = (bytes: number): boolean =>
    bytes * 1.1 <= pinBytes && bytes * DISK_PER_BYTE <= freeBytes;
  // Memory that comes from JavaScript grows slowly.
  let bytes = isNative ? wantedBytes : Math.min(wantedBytes, PORTABLE_BYTES);
  while (!fits(bytes) && bytes / 2 >= BYTES_MIN) bytes /= 2;
  if (bytes === wantedBytes) return { bytes, because: undefined };
  const because = `less than ${size(wantedBytes)}: pins may take ${size(pinBytes)} here, and ${size(freeBytes)} are free on the disk${isNative ? "" : "; the native part is missing"}`;
  return { bytes, because };
}

/** What rows 0 … rows − 1 add up to, row i holding i mod 1,009: whole rounds of 0 … 1,008, and the rest. */
function sumOf(rows: number): number {
  const rounds = Math.floor(rows / 1_009);
  const rest = rows % 1_009;
  return (rounds * (1_008 * 1_009)) / 2 + (rest * (rest - 1)) / 2;
}

const rate = ({ rows, tookMs }: Scan): string => ((rows * ROW_BYTES) / 1e6 / tookMs).toFixed(1);

function returned(full: ProcessMemory, empty: ProcessMemory): string {
  const ram = `RAM of the host ${size(full.residentBytes)} → ${paint("bold", size(empty.residentBytes))}`;
  if (full.lockedBytes === 0) return ram;
  return `${ram}, locked ${size(full.lockedBytes)} → ${size(empty.lockedBytes)}`;
}

function pinned({ lengthBytes, residentBytes, lockedBytes, extents }: ActorMemoryStats): string {
  if (lockedBytes === lengthBytes) return `${size(lengthBytes)} pinned and locked before its turn`;
  if (residentBytes === lengthBytes) return `${size(lengthBytes)} in memory, not locked`;
  return `not in memory (${extents["minutes"]?.degraded ?? "no reason known"}): read page by page`;
}

function faults(scans: readonly Scan[]): string {
  const before = scans[0]?.faultsBefore;
  const after = scans.at(-1)?.faultsAfter;
  if (before === undefined || after === undefined)
    return "page faults are not counted without the native part";
  return `page faults that waited for a disk: ${before} before, ${after} after`;
}
