/**
 * Blobs coming in: cut, hashed and stored, against hashing the same bytes and nothing else.
 *
 * small-files       by `putAll`, 1,000 at a time; one-by-one: a `put` for each
 * memory-*          the most memory of a process that stores them on disk; a stream under bounds, files with the options as they are
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createHash, hash } from "node:crypto";
import { seededRng } from "@pinion/core";
import type * as Memory from "../../../packages/storage/src/extent/memory-extent.ts";
import type * as Blobs from "../../../packages/storage/src/structures/blob.ts";
import type { BenchContext, BenchSuite, Measurement } from "../harness.ts";
import { buildPackages } from "../opened-host.ts";

const inside = (name: string): string =>
  new URL(`../../../packages/storage/src/${name}.ts`, import.meta.url).href;
const { MemoryExtent } = (await import(inside("extent/memory-extent"))) as typeof Memory;
const { blob } = (await import(inside("structures/blob"))) as typeof Blobs;

const MIB = 2 ** 20;
const PART_BYTES = MIB;
const FILES_AT_ONCE = 1000;
/** For who wants little memory rather than few writes. */
const BOUNDED = {
  pinBytesMax: 0,
  checkpointDirtyBytes: 16 * MIB,
  checkpointLogBytes: 16 * MIB,
};

function randomBytes(byteCount: number): Uint8Array {
  const words = new Uint32Array(byteCount / 4);
  const rng = seededRng(1);
  for (let i = 0; i < words.length; i++) words[i] = rng.uint32();
  return new Uint8Array(words.buffer);
}

function partsOf(bytes: Uint8Array, partBytes: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += partBytes)
    parts.push(bytes.subarray(at, at + partBytes));
  return parts;
}

/** MB/s of `bytes`. */
async function rate(bytes: number, work: () => unknown): Promise<Measurement> {
  const startMs = performance.now();
  await work();
  return { value: bytes / 1e3 / (performance.now() - startMs) };
}

let built: Promise<void> | undefined;

/** Of a process that has the packages as they are published: their sources would take 60 MB more to be stripped of types. */
async function peakBytes(...args: string[]): Promise<Measurement> {
  const program = fileURLToPath(new URL("../blob-memory.ts", import.meta.url));
  await (built ??= buildPackages());
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part: string) => (text += part));
  await once(child, "close");
  return { value: Number(text) / 1e6 };
}

export const suite: BenchSuite = {
  name: "blob",
  cases: ({ scale }: BenchContext) => {
    const stream = randomBytes(Math.round(128 * scale) * MIB);
    const parts = partsOf(stream, PART_BYTES);
    const files = partsOf(stream, 4096).slice(0, Math.round(20_000 * scale));
    const named = files.map((file, i) => [`file ${i}`, file] as const);
    const fileBytes = files.length * 4096;
    // Memory that was touched before, so that page faults are not what is measured.
    const extent = new MemoryExtent({ bytes: new Uint8Array(stream.length * 1.5) });
    const emptied = async () => {
      await extent.resize(0);
      return blob().open(extent);
    };
    const hashedParts = () => {
      const sum = createHash("sha256");
      for (const part of parts) sum.update(part);
      return sum.digest();
    };
    const hashedFiles = () =>
      rate(fileBytes, () => {
        for (const file of files) hash("sha256", file, "buffer");
      });
    return [
      {
        name: "ingest",
        unit: "MB/s",
        better: "higher",
        subject: async () => {
          const writer = await (await emptied()).begin("stream");
          return rate(stream.length, async () => {
            for (const part of parts) await writer.write(part);
            await writer.finish();
          });
        },
        floor: () => rate(stream.length, hashedParts),
      },
      {
        name: "ingest-known",
        unit: "MB/s",
        better: "higher",
        subject: async () => {
          const handle = await emptied();
          await handle.put("stream", stream);
          const writer = await handle.begin("again");
          return rate(stream.length, async () => {
            for (const part of parts) await writer.write(part);
            await writer.finish();
          });
        },
        floor: () => rate(stream.length, hashedParts),
      },
      {
        name: "small-files",
        unit: "MB/s",
        better: "higher",
        subject: async () => {
          const handle = await emptied();
          return rate(fileBytes, async () => {
            for (let i = 0; i < named.length; i += FILES_AT_ONCE)
              await handle.putAll(named.slice(i, i + FILES_AT_ONCE));
          });
        },
        floor: hashedFiles,
      },
      {
        name: "small-files-one-by-one",
        unit: "MB/s",
        better: "higher",
        subject: async () => {
          const handle = await emptied();
          return rate(fileBytes, async () => {
            for (const [name, content] of named) await handle.put(name, content);
          });
        },
        floor: hashedFiles,
      },
      {
        name: "memory-stream",
        unit: "MB",
        better: "lower",
        subject: () =>
          peakBytes("stream", String(Math.round(512 * scale)), JSON.stringify(BOUNDED)),
      },
      {
        name: "memory-files",
        unit: "MB",
        better: "lower",
        subject: () => peakBytes("files", String(Math.round(20_000 * scale))),
      },
    ];
  },
};
