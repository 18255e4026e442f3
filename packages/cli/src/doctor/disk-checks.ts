/**
 * The data directory: its file system, its space, and how long a flush takes there, measured.
 *
 * I1 nothing is left behind, and nothing that was there is touched: the probe is a folder of its own.
 */
import { access, constants, mkdtemp, open, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { messageOf, systemCode, type Clock } from "@pinion/core";
import { fileSystemFeatures, nativeDoor, type FileSystemFeatures } from "@pinion/storage";
import { bytesText, durationText } from "../output/units.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

const MIB = 2 ** 20;
/** Two log segments of 64 MiB, the state store, and room for one checkpoint. */
const FREE_BYTES_FAIL = 512 * MIB;
const FREE_BYTES_WARN = 5 * 1024 * MIB;
/** Gone with the machine. */
const IN_MEMORY = new Set(["tmpfs", "ramfs"]);
/** Where locks and flushes are somebody else's promise. */
const REMOTE = new Set(["nfs", "fuse", "9p", "0xff534d42", "0xfe534d42"]);

const PROBE_BYTES = 1 * MIB;
const WRITE_BYTES = 4096;
const FLUSHES_MAX = 300;
const PROBE_MS_MAX = 1_500;
/** The first ones pay for the file's metadata. */
const FLUSHES_WARM_UP = 5;
/** No disk that keeps its promise is faster; a write-back cache without a battery is. */
const FLUSH_MS_SUSPICIOUS = 0.01;
/** Beyond it a single caller's call feels slow. */
const FLUSH_MS_SLOW = 10;

export interface FlushLatency {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** @param dir the data directory; it need not exist yet. */
export async function diskChecks(dir: string, clock: Clock): Promise<Finding[]> {
  const path = resolve(dir);
  let place: string;
  try {
    place = await nearestExisting(path);
    await access(place, constants.W_OK | constants.X_OK);
  } catch (error) {
    return [unusable(path, error)];
  }
  const created = place === path ? "" : " (not created yet)";
  try {
    const features = await fileSystemFeatures(place);
    return [
      ok("data-directory", `${path}${created}`),
      fileSystemCheck(features),
      spaceCheck(features),
      flushCheck(await measureFlush(place, clock), features.type),
    ];
  } catch (error) {
    return [unusable(path, error)];
  }
}

function unusable(path: string, error: unknown): Finding {
  const code = systemCode(error);
  const why = `no host can keep its data there: ${messageOf(error)}`;
  const fix =
    code === "EACCES" || code === "EPERM"
      ? `sudo chown -R $(id -u) ${path}   (or choose another with --data-dir)`
      : "choose another with --data-dir";
  return fail("data-directory", path, why, fix);
}

/** The directory itself, or the first of its parents that is there. */
async function nearestExisting(path: string): Promise<string> {
  for (let place = path; ; place = dirname(place)) {
    try {
      if ((await stat(place)).isDirectory()) return place;
      throw Object.assign(new Error(`${place} is a file`), { code: "ENOTDIR" });
    } catch (error) {
      if (systemCode(error) !== "ENOENT" || dirname(place) === place) throw error;
    }
  }
}

function fileSystemCheck({ type, directIo }: FileSystemFeatures): Finding {
  const found = `${type}${directIo === false ? ", without direct I/O" : ""}`;
  const elsewhere = "put the data directory on a local disk: --data-dir /var/lib/pinion";
  if (IN_MEMORY.has(type)) {
    return warn(
      "file-system",
      found,
      "it lives in memory: a restart of the machine loses everything",
      elsewhere,
    );
  }
  if (REMOTE.has(type)) {
    return warn(
      "file-system",
      found,
      "locks and flushes depend on another machine or program",
      elsewhere,
    );
  }
  if (type === "overlay") {
    return warn(
      "file-system",
      found,
      "a container's own layer: its data goes with the container",
      "mount a volume: docker run -v pinion-data:/data … --data-dir /data",
    );
  }
  return ok("file-system", found);
}

function spaceCheck({ freeBytes, totalBytes }: FileSystemFeatures): Finding {
  const found = `${bytesText(freeBytes)} free of ${bytesText(totalBytes)}`;
  const figures = { freeBytes, totalBytes };
  if (freeBytes >= FREE_BYTES_WARN) return ok("disk-space", found, figures);
  const bad = freeBytes < FREE_BYTES_FAIL ? fail : warn;
  return bad(
    "disk-space",
    found,
    "a full disk stops all writes; what is there stays safe",
    "free some space, or choose another disk with --data-dir",
    figures,
  );
}

export function flushCheck(latency: FlushLatency, fileSystem: string): Finding {
  const found = `${durationText(latency.p50Ms)} median, ${durationText(latency.p99Ms)} p99 (${latency.count} flushes of 4 KiB)`;
  const figures = { flushP50Ms: latency.p50Ms, flushP99Ms: latency.p99Ms };
  if (latency.p50Ms < FLUSH_MS_SUSPICIOUS && !IN_MEMORY.has(fileSystem)) {
    return warn(
      "disk-flush",
      found,
      "no disk is that fast: something acknowledges flushes without doing them, and a power cut would lose acknowledged calls",
      "switch write-back caching off, or ask whoever runs the disk",
      figures,
    );
  }
  if (latency.p50Ms > FLUSH_MS_SLOW) {
    return warn(
      "disk-flush",
      found,
      "every acknowledged call waits for one flush (shared by all calls at that moment)",
      "use a local SSD for --data-dir",
      figures,
    );
  }
  return ok("disk-flush", found, figures);
}

/** Overwrites of an allocated file, each flushed: what the log does. */
export async function measureFlush(dir: string, clock: Clock): Promise<FlushLatency> {
  const probe = await mkdtemp(join(dir, ".pinion-doctor-"));
  try {
    const file = await open(join(probe, "flush"), "w");
    try {
      const door = nativeDoor();
      await door.allocate(file.fd, 0, PROBE_BYTES, true);
      await door.writeAndFlush(file.fd, new Uint8Array(PROBE_BYTES), 0, true);
      return await flushRepeatedly(clock, (i) =>
        door.writeAndFlush(
          file.fd,
          new Uint8Array(WRITE_BYTES),
          (i * WRITE_BYTES) % PROBE_BYTES,
          true,
        ),
      );
    } finally {
      await file.close();
    }
  } finally {
    await rm(probe, { recursive: true, force: true }); // I1
  }
}

async function flushRepeatedly(
  clock: Clock,
  flush: (i: number) => Promise<void>,
): Promise<FlushLatency> {
  const tookMs: number[] = [];
  const endAtMs = clock.nowMs() + PROBE_MS_MAX;
  for (let i = 0; i < FLUSHES_WARM_UP + FLUSHES_MAX; i++) {
    const startMs = clock.nowMs();
    if (startMs > endAtMs && tookMs.length > 0) break;
    await flush(i);
    if (i >= FLUSHES_WARM_UP) tookMs.push(clock.nowMs() - startMs);
  }
  tookMs.sort((a, b) => a - b);
  const at = (q: number): number => tookMs[Math.ceil(tookMs.length * q) - 1] ?? 0;
  return { count: tookMs.length, p50Ms: at(0.5), p99Ms: at(0.99) };
}
