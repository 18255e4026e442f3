/** Where chunks end and what their hashes are, whoever says so: the addon and JavaScript; and what a blob store makes of it. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isPinionError, seededRng } from "@pinion/core";
import { MemoryExtent, type BlobHandle } from "@pinion/storage";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import type * as Door from "../../packages/storage/src/memory/open-native-door.ts";
import type * as AddonKernels from "../../packages/storage/src/structures/addon-chunk-kernels.ts";
import type * as Blobs from "../../packages/storage/src/structures/blob.ts";
import type * as Chunker from "../../packages/storage/src/structures/cdc-chunker.ts";
import type * as Kernels from "../../packages/storage/src/structures/chunk-kernels.ts";
import { buildAddon } from "../support/build-addon.ts";

const inside = (name: string): string =>
  new URL(`../../packages/storage/src/${name}.ts`, import.meta.url).href;
const hasAddon = buildAddon();
const { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNKS_AT_ONCE, javascriptChunkKernels } = (await import(
  inside("structures/chunk-kernels")
)) as typeof Kernels;
const { AddonChunkKernels, chunkKernels } = (await import(
  inside("structures/addon-chunk-kernels")
)) as typeof AddonKernels;
const { CdcChunker } = (await import(inside("structures/cdc-chunker"))) as typeof Chunker;
const { BlobHandle: Handle } = (await import(inside("structures/blob"))) as typeof Blobs;
const { loadAddon } = (await import(inside("memory/open-native-door"))) as typeof Door;

type ChunkKernels = Kernels.ChunkKernels;

const addon = loadAddon();
const KERNELS: [string, ChunkKernels][] = [["JavaScript", javascriptChunkKernels]];
if (typeof addon !== "string") {
  const { chunks } = addon;
  KERNELS.push(["the addon", new AddonChunkKernels(chunks)]);
  const withoutHashes = { cut: chunks.cut, hasHashes: false, hash: never, hashLater: never };
  KERNELS.push(["the addon, hashes by Node", new AddonChunkKernels(withoutHashes)]);
}

function never(): never {
  throw new Error("not on this processor");
}

const made = new Map<string, Uint8Array>();

/** Bytes of several kinds: random ones, few different ones, runs, a pattern that comes again. */
function fuzzed(seed: number, byteCount: number): Uint8Array {
  const key = `${seed} ${byteCount}`;
  if (!made.has(key) && byteCount < 100_000) return make(seed, byteCount);
  if (!made.has(key)) made.set(key, make(seed, byteCount));
  return made.get(key)!.slice();
}

function make(seed: number, byteCount: number): Uint8Array {
  const rng = seededRng(seed);
  const bytes = new Uint8Array(byteCount);
  for (let at = 0; at < byteCount;) {
    const end = Math.min(byteCount, at + 1 + rng.below(100_000));
    const kind = rng.below(5);
    const value = rng.below(256);
    const period = 1 + rng.below(5000);
    for (let i = at; i < end; i++) {
      if (kind <= 1) bytes[i] = rng.below(256);
      else if (kind === 2) bytes[i] = value;
      else if (kind === 3) bytes[i] = value + rng.below(3);
      else bytes[i] = i < period ? rng.below(256) : bytes[i - period]!;
    }
    at = end;
  }
  return bytes;
}

const GEAR = Array.from({ length: 256 }, (_, byte) => {
  let h = Math.imul(byte + 1, 0x9e3779b9);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
});

/** C2, place by place: the upper 13 or 11 bits of the hash of 32 bytes are zero. */
function cutByTheBook(bytes: Uint8Array, start: number, end: number, scanned: number): number {
  const limit = Math.min(end, start + 65_536);
  for (let i = start + Math.max(scanned, 8192); i < limit; i++) {
    let h = 0;
    for (let k = i - 31; k <= i; k++) h = (Math.imul(h, 2) + GEAR[bytes[k]!]!) >>> 0;
    if (h >>> (i < start + 12_288 ? 19 : 21) === 0) return i + 1;
  }
  return limit - start === 65_536 ? limit : -1;
}

/** Cuts a stream that comes in parts, each by the kernels whose turn it is. */
function lengthsOf(kernels: ChunkKernels, parts: readonly Uint8Array[]): number[] {
  const chunker = new CdcChunker(kernels);
  const lengths: number[] = [];
  for (const part of parts) {
    chunker.push(part);
    for (let chunk; (chunk = chunker.next()) !== undefined;) lengths.push(chunk.length);
  }
  const rest = chunker.finish();
  return rest === undefined ? lengths : [...lengths, rest.length];
}

function split(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const size of sizes) parts.push(bytes.subarray(at, (at += size)));
  return [...parts, bytes.subarray(at)];
}

const sizes = fc.array(fc.oneof(fc.nat(300), fc.nat(70_000), fc.nat(400_000)), { maxLength: 30 });
const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

async function contentOf(handle: BlobHandle, name: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of handle.get(name)) parts.push(part);
  return Buffer.concat(parts);
}

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (e) {
    return isPinionError(e) ? e.code : e;
  }
  return "no error";
}

describe.skipIf(!hasAddon)("blobs", () => {
  it("are cut by the addon where it is built", async () => {
    expect(chunkKernels()).toBeInstanceOf(AddonChunkKernels);
    expect(chunkKernels()).toBe(chunkKernels());
    const cut = vi.spyOn(chunkKernels(), "cut");
    await new Handle(new MemoryExtent()).put("b", fuzzed(1, 300_000));
    expect(cut).toHaveBeenCalled();
    vi.restoreAllMocks();
  });
});

describe.each(KERNELS)("chunk kernels: %s", (_, kernels) => {
  it("cut where it is written down", () => {
    const bytes = fuzzed(1, 700_000);
    fc.assert(
      fc.property(
        fc.nat(650_000),
        fc.oneof(fc.nat(20_000), fc.nat(90_000)),
        fc.oneof(fc.constant(0), fc.nat(70_000)),
        (start, length, scanned) => {
          const end = Math.min(bytes.length, start + length);
          const cut = kernels.cut(bytes, start, end, scanned);
          expect(cut).toBe(cutByTheBook(bytes, start, end, scanned));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("cut bytes that are all alike at the greatest length", () => {
    for (const value of [0, 1, 255]) {
      const bytes = new Uint8Array(100_000).fill(value);
      const cut = kernels.cut(bytes, 17, bytes.length, 0);
      expect(cut).toBe(cutByTheBook(bytes, 17, bytes.length, 0));
      expect(cut - 17).toBeGreaterThan(CHUNK_BYTES_MIN);
      expect(cut - 17).toBeLessThanOrEqual(CHUNK_BYTES_MAX);
    }
  });

  it("make the same chunks of a stream however it is divided", () => {
    fc.assert(
      fc.property(fc.nat(1000), sizes, (seed, parts) => {
        const bytes = fuzzed(seed % 10, 600_000);
        const whole = lengthsOf(javascriptChunkKernels, [bytes]);
        expect(lengthsOf(kernels, split(bytes, parts))).toEqual(whole);
      }),
      { numRuns: 20 },
    );
  });

  it("hash chunks of any length, next to each other, and touch nothing else", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat(200), fc.nat(9000)), { maxLength: CHUNKS_AT_ONCE }),
        fc.nat(2 ** 31),
        (lengths, seed) => {
          const memory = fuzzed(seed, 48 + lengths.reduce((sum, n) => sum + n + 40, 0));
          const expected = memory.slice();
          const places: number[] = [];
          let at = 0;
          for (const length of lengths) {
            places.push(at, at + 35, length);
            expected.set(sha256(memory.subarray(at + 35, at + 35 + length)), at);
            at += length + 40;
          }
          kernels.hash(memory, Uint32Array.from(places), lengths.length);
          expect(Buffer.compare(memory, expected)).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("hash every length around the ends of blocks", () => {
    const memory = fuzzed(3, 400);
    for (let length = 0; length <= 300; length++) {
      const expected = sha256(memory.subarray(50, 50 + length));
      const places = Uint32Array.of(0, 50, length);
      kernels.hash(memory, places, 1);
      expect(Buffer.compare(memory.subarray(0, 32), expected)).toBe(0);
    }
  });

  it("hash many at once off the event loop, and what is dropped meanwhile harms nobody", async () => {
    const works = Array.from({ length: 200 }, (_unused, i) => {
      const memory = fuzzed(i, 36 + i * 997);
      new Uint32Array(memory.buffer, 0, 1)[0] = 2 ** 32 - 4; // the last before 0
      const places = Uint32Array.of(4, 36, memory.length - 36);
      const expected = sha256(memory.subarray(36));
      const done = kernels.hashLater(memory, places, 1, 2 ** 32 - 4);
      places.fill(0); // may be used again at once
      return { memory, expected, done };
    });
    for (const { memory, expected, done } of works) {
      if (done === undefined) continue;
      await done;
      expect(Buffer.compare(memory.subarray(4, 36), expected)).toBe(0);
      expect(new Uint32Array(memory.buffer, 0, 1)[0]).toBe(2 ** 32 - 2);
    }
  });

  it("hash once, by who raised the ticket, and touch nothing when it is another one", async () => {
    const works = Array.from({ length: 300 }, (_unused, i) => {
      const memory = new Uint8Array(40_036).fill(i + 1, 36);
      const ticket = new Int32Array(memory.buffer, 0, 1);
      ticket[0] = 8;
      const done = kernels.hashLater(memory, Uint32Array.of(4, 36, 40_000), 1, 8);
      // The event loop takes every second one back, unless a thread was first, and uses the memory for something else.
      const isTaken = i % 2 === 0 && Atomics.compareExchange(ticket, 0, 8, 9) === 8;
      if (isTaken) ticket[0] = 12;
      return { memory, ticket, done, isTaken };
    });
    for (const { memory, ticket, done, isTaken } of works) {
      if (done === undefined) continue;
      await done;
      const hash = Buffer.from(memory.subarray(4, 36));
      expect(ticket[0]).toBe(isTaken ? 12 : 10);
      expect(hash.equals(isTaken ? Buffer.alloc(32) : sha256(memory.subarray(36)))).toBe(true);
    }
  });

  const memory = new Uint8Array(1000);
  const one = Uint32Array.of(0, 32, 900);
  it.each<[string, (kernels: ChunkKernels) => unknown]>([
    ["an end behind the bytes", (k) => k.cut(memory, 0, 1001, 0)],
    ["a beginning behind the end", (k) => k.cut(memory, 9, 8, 0)],
    ["a beginning before all", (k) => k.cut(memory, -1, 8, 0)],
    ["half a byte", (k) => k.cut(memory, 0.5, 8, 0)],
    ["bytes that were taken away", (k) => k.cut(taken(), 0, 8, 0)],
    ["words", (k) => k.cut(new Uint32Array(9) as never, 0, 8, 0)],
    ["a chunk that ends outside", (k) => k.hash(memory, Uint32Array.of(0, 101, 900), 1)],
    ["a chunk from outside", (k) => k.hash(memory, Uint32Array.of(0, 2 ** 32 - 1, 1), 1)],
    ["a hash that ends outside", (k) => k.hash(memory, Uint32Array.of(969, 0, 9), 1)],
    ["more chunks than places", (k) => k.hash(memory, one, 2)],
    ["less than no chunks", (k) => k.hash(memory, one, -1)],
    ["too many chunks", (k) => k.hash(memory, new Uint32Array(999), CHUNKS_AT_ONCE + 1)],
    ["places of another type", (k) => k.hash(memory, [0, 32, 900] as never, 1)],
    ["memory that was taken away", (k) => k.hash(taken(), one, 1)],
  ])("refuse %s", (_name, work) => {
    expect(() => work(kernels)).toThrow(expect.objectContaining({ code: "internal" }));
  });

  it("store what others store, to the byte, in parts of any size", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1000), sizes, fc.boolean(), async (seed, parts, resident) => {
        const bytes = fuzzed(seed % 4, 900_000);
        const extent = new MemoryExtent({ resident });
        const reference = new MemoryExtent();
        const writer = await new Handle(extent, kernels).begin("b");
        for (const part of split(bytes, parts)) {
          // Whose memory it is may use it again as soon as the write is done.
          const own = part.slice();
          await writer.write(own);
          own.fill(0);
        }
        await writer.finish();
        await new Handle(reference, javascriptChunkKernels).put("b", bytes);
        const { chunks, chunkBytes } = await new Handle(extent).stats();
        expect(await new Handle(reference).stats()).toMatchObject({ chunks, chunkBytes });
        expect((await contentOf(new Handle(extent), "b")).equals(bytes)).toBe(true);
        // Nothing comes in anew by another's hand.
        await new Handle(extent, javascriptChunkKernels).put("again", bytes);
        expect(await new Handle(extent).stats()).toMatchObject({ chunks, chunkBytes });
      }),
      { numRuns: 8 },
    );
  });

  it("leave nothing of a source that fails, whatever is under way", async () => {
    const handle = new Handle(new MemoryExtent(), kernels);
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield fuzzed(5, 3_000_000);
      throw new Error("the source");
    }
    await handle.put("kept", fuzzed(6, 500_000));
    const before = await handle.stats();
    expect(await codeOf(handle.put("kept", failing()))).toMatchObject({ message: "the source" });
    await handle.reclaim(1e6);
    const { blobs, chunks, chunkBytes } = await handle.stats();
    expect({ blobs, chunks, chunkBytes }).toMatchObject({
      blobs: before.blobs,
      chunks: before.chunks,
      chunkBytes: before.chunkBytes,
    });
    expect((await contentOf(handle, "kept")).equals(fuzzed(6, 500_000))).toBe(true);
  });

  it("write nothing any more once the turn is over", async () => {
    for (let i = 0; i < 50; i++) {
      const extent = new MemoryExtent();
      const writer = await new Handle(extent, kernels).begin("late");
      const writing = Promise.resolve(writer.write(fuzzed(7, 2_000_000)));
      const before = extent.bytes;
      extent.end();
      const code = await codeOf(writing);
      // JavaScript waits for nothing: its write was done.
      expect(["no error", "view-expired"]).toContain(code);
      expect(extent.bytes.length).toBe(before.length);
    }
  });

  it("say so when the bytes are taken away while they are written", async () => {
    const bytes = fuzzed(8, 4_000_000);
    const handle = new Handle(new MemoryExtent(), kernels);
    const putting = codeOf(handle.put("gone", bytes));
    await Promise.resolve();
    await Promise.resolve();
    (bytes.buffer as ArrayBuffer).transfer();
    expect(["no error", "invalid-argument"]).toContain(await putting);
  });

  it("keep no memory", async () => {
    const bytes = fuzzed(9, 1_000_000);
    const { setFlagsFromString } = await import("node:v8");
    setFlagsFromString("--expose-gc");
    const collect = (await import("node:vm")).runInNewContext("gc") as () => void;
    const seen = new Set<WeakRef<ArrayBufferLike>>();
    const works: Promise<void>[] = [];
    const watched: ChunkKernels = {
      cut: (...args) => kernels.cut(...args),
      hash: (...args) => kernels.hash(...args),
      hashLater: (memory, places, count, ticket) => {
        seen.add(new WeakRef(memory.buffer));
        const done = kernels.hashLater(memory, places, count, ticket);
        works.push(done ?? Promise.resolve());
        return done;
      },
    };
    for (let i = 0; i < 100; i++) {
      const extent = new MemoryExtent();
      const writer = await new Handle(extent, watched).begin("late");
      const writing = codeOf(Promise.resolve(writer.write(bytes)));
      extent.end();
      await writing;
    }
    await Promise.all(works);
    expect(works.length).toBeGreaterThanOrEqual(100);
    // Those that are kept for the next ones, in this thread.
    await vi.waitFor(() => {
      collect();
      const left = new Set([...seen].map((ref) => ref.deref()));
      left.delete(undefined);
      expect(left.size).toBeLessThanOrEqual(4);
    });
  });
});

function taken(): Uint8Array {
  const bytes = new Uint8Array(1000);
  bytes.buffer.transfer();
  return bytes;
}

describe.skipIf(!hasAddon)("the addon's chunks", () => {
  it("survive threads that end while theirs are hashed", async () => {
    const script = fileURLToPath(new URL("fixtures/chunk-threads.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--conditions=source", script]);
    expect(stdout.trim()).toBe("6 threads ended, main thread still hashes");
  });

  const junk: unknown[] = [
    undefined,
    null,
    0,
    1,
    -1,
    NaN,
    2 ** 32 - 1,
    2 ** 53,
    7n,
    "text",
    {},
    [],
    new ArrayBuffer(8),
    new DataView(new ArrayBuffer(8)),
    new Uint8Array(0),
    taken(),
    new Uint8Array(300),
    new Uint8Array(100_000),
    new Uint32Array(0),
    Uint32Array.of(0, 32, 100),
    Uint32Array.of(0, 32, 268, 300, 0, 1),
    Uint32Array.of(4, 32, 100),
    new Uint32Array(300).fill(2 ** 32 - 1),
  ];

  it("answer or throw, whatever they are called with", async () => {
    const chunks = (addon as Door.LoadedAddon).chunks as unknown as Record<string, unknown>;
    const works: unknown[] = [];
    fc.assert(
      fc.property(
        fc.constantFrom("cut", "hash", "hashLater"),
        fc.array(fc.constantFrom(...junk), { maxLength: 5 }),
        (name, args) => {
          try {
            works.push((chunks[name] as (...args: unknown[]) => unknown)(...args));
          } catch (e) {
            expect(e).toBeInstanceOf(TypeError);
          }
        },
      ),
      { numRuns: 20_000 },
    );
    await Promise.all(works);
  });
});
