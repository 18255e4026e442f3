/**
 * Of `blob/memory-*`: the most memory a process takes that stores blobs in a volume on disk, all of it, in bytes. A process of its own, because
 * what another one has in memory would count.
 *
 * Arguments: `stream` or `files`; MiB, or how many files of 4 KiB; options of the store as JSON.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRng } from "@pinion/core";
import { blob, openStore } from "@pinion/storage";

const MIB = 2 ** 20;
const FILE_BYTES = 4096;
/** What a turn writes: bounded by 16 MiB. */
const TURN_BYTES = 8 * MIB;

const [what, amount] = [process.argv[2], Number(process.argv[3])];
const options = JSON.parse(process.argv[4] ?? "{}") as object;
const rng = seededRng(1);
const part = new Uint32Array(MIB / 4);
const nextPart = (): Uint8Array => {
  for (let i = 0; i < part.length; i++) part[i] = rng.uint32();
  return new Uint8Array(part.buffer);
};

const dir = mkdtempSync(join(tmpdir(), "pinion-blob-memory-"));
const store = await openStore({ ...options, dir });
const archive = await store.open("archive", { blobs: blob() }, { profile: "cold" });
if (what === "stream") {
  await archive.update(async ({ blobs }) => (await blobs.begin("stream")).pause());
  for (let mib = 0; mib < amount; mib += TURN_BYTES / MIB) {
    await archive.update(async ({ blobs }) => {
      const writer = await blobs.resume("stream");
      for (let i = 0; i < TURN_BYTES / MIB; i++) await writer.write(nextPart());
      await writer.pause();
    });
  }
  await archive.update(async ({ blobs }) => (await blobs.resume("stream")).finish());
} else {
  for (let first = 0; first < amount; first += TURN_BYTES / FILE_BYTES) {
    const files: [string, Uint8Array][] = [];
    for (let i = first; i < Math.min(amount, first + TURN_BYTES / FILE_BYTES);) {
      const bytes = nextPart().slice();
      for (let at = 0; at < MIB; at += FILE_BYTES)
        files.push([`file ${i++}`, bytes.subarray(at, at + FILE_BYTES)]);
    }
    await archive.update(({ blobs }) => blobs.putAll(files));
  }
}
await store.close();
rmSync(dir, { recursive: true });
const [, peakKiB] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
console.log(Number(peakKiB) * 1024);
