/** What both native doors do: the addon, and plain Node where it could not be built. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { seededRng, systemCode } from "@pinion/core";
import {
  nativeDoor,
  PortableDoor,
  recordChecksum,
  sealRecords,
  type NativeDoor,
} from "@pinion/storage";
import { crc32c as referenceCrc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildAddon } from "../support/build-addon.ts";

const fixture = (name: string): string =>
  fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const FLAGS = ["--conditions=source"];

const rejection = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise;
  } catch (e) {
    return e;
  }
  throw new Error("nothing was thrown");
};

/** Records with payloads of these lengths, unsealed: what a log hands over to be written. */
function unsealedRecords(payloadLengths: readonly number[], seed: number): Uint8Array {
  const rng = seededRng(seed);
  const padded = payloadLengths.map((length) => (32 + length + 7) & ~7);
  const bytes = new Uint8Array(padded.reduce((sum, length) => sum + length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [i, length] of payloadLengths.entries()) {
    for (let k = 8; k < 32 + length; k++) bytes[at + k] = rng.below(256);
    view.setUint32(at, rng.uint32(), true);
    view.setUint32(at + 4, length, true);
    at += padded[i] as number;
  }
  return bytes;
}

const hasAddon = buildAddon();

describe.skipIf(!hasAddon)("the addon", () => {
  it("is what a thread gets where it could be built, the same one every time", () => {
    expect(nativeDoor()).toMatchObject({ kind: "addon", degraded: undefined });
    expect(nativeDoor()).toBe(nativeDoor());
  });
});

describe.each<[string, () => NativeDoor]>([
  ...(hasAddon ? [["addon", nativeDoor] satisfies [string, () => NativeDoor]] : []),
  ["portable", () => new PortableDoor()],
])("native door: %s", (kind, make) => {
  let dir: string;
  let fd: number;
  let door: NativeDoor;
  const content = (): Buffer => readFileSync(join(dir, "file"));

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "pinion-door-"));
    fd = openSync(join(dir, "file"), "w+");
    door = make();
  });
  afterEach(() => {
    closeSync(fd);
    rmSync(dir, { recursive: true, force: true });
  });

  it("says what it is", () => {
    expect(door.kind).toBe(kind);
    expect(door.degraded).toBeUndefined();
  });

  it.each([false, true])("writes a buffer where it belongs (sync: %s)", async (sync) => {
    await door.writeAndFlush(fd, Buffer.from("world"), 6, sync);
    await door.writeAndFlush(fd, Buffer.from("hello "), 0, sync);
    await door.writeAndFlush(fd, new Uint8Array(0), 3, sync);
    await door.flush(fd);
    expect(content().toString()).toBe("hello world");
  });

  it("writes the part of its memory that a view shows", async () => {
    const memory = Uint8Array.from({ length: 100 }, (_, i) => i);
    await door.writeAndFlush(fd, memory.subarray(10, 13), 0, true);
    expect([...content()]).toEqual([10, 11, 12]);
  });

  it("writes beyond 4 GiB", async () => {
    const far = 5 * 2 ** 32 + 8;
    await door.writeAndFlush(fd, Buffer.from("x"), far, false);
    expect(fstatSync(fd).size).toBe(far + 1);
    await door.sealAndWrite(fd, unsealedRecords([3], 1), far, false, 2 ** 40);
    expect(fstatSync(fd).size).toBe(far + 40);
  });

  it("completes more operations at once than it has places for", async () => {
    const writes = Array.from({ length: 1_500 }, (_, i) =>
      i % 2 === 0
        ? door.writeAndFlush(fd, Uint8Array.of(i, i >> 8), 40 * i, false)
        : door.sealAndWrite(fd, unsealedRecords([1], i), 40 * i, false, 1),
    );
    await Promise.all(writes);
    const bytes = content();
    for (let i = 0; i < 1_500; i += 2) expect(bytes.readUInt16LE(40 * i)).toBe(i);
  });

  it("reserves space that reads as zeros, and keeps what is there", async () => {
    await door.writeAndFlush(fd, Buffer.from("abc"), 0, false);
    await door.allocate(fd, 0, 3 << 20, true);
    expect(fstatSync(fd).size).toBe(3 << 20);
    expect(fstatSync(fd).blocks * 512).toBeGreaterThanOrEqual(3 << 20);
    const bytes = content();
    expect(bytes.toString("utf8", 0, 3)).toBe("abc");
    expect(bytes.subarray(3).every((byte) => byte === 0)).toBe(true);
    await door.allocate(fd, 1 << 20, 4096, false);
    expect(fstatSync(fd).size).toBe(3 << 20);
    // The same promise without writing, behind the end.
    await door.allocate(fd, 3 << 20, 1 << 20, false);
    expect(fstatSync(fd).size).toBe(4 << 20);
    expect(fstatSync(fd).blocks * 512).toBeGreaterThanOrEqual(4 << 20);
    expect(
      content()
        .subarray(3 << 20)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  it("fills in the same checksums as the reference, byte for byte", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.nat(300), fc.nat(20_000)), { minLength: 1, maxLength: 12 }),
        fc.nat(2 ** 31),
        fc.maxSafeNat(),
        fc.nat(2 ** 20),
        async (lengths, seed, generation, place) => {
          const own = unsealedRecords(lengths, seed);
          const reference = own.slice();
          const offset = place * 8;
          sealRecords(reference, reference.length, generation, offset);
          await door.sealAndWrite(fd, own, offset, false, generation);
          expect(Buffer.compare(own, reference)).toBe(0);
          expect(Buffer.compare(content().subarray(offset, offset + own.length), reference)).toBe(
            0,
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it.each([
    ["many small records", Array.from({ length: 9000 }, (_, i) => i % 200)],
    ["records larger than any piece", [1_500_000, 0, 524_256, 524_257, 3]],
  ])("seals and writes %s at once", async (_, lengths) => {
    const own = unsealedRecords(lengths, 6);
    const reference = own.slice();
    sealRecords(reference, reference.length, 9, 4096);
    await door.sealAndWrite(fd, own, 4096, true, 9);
    expect(Buffer.compare(own, reference)).toBe(0);
    expect(Buffer.compare(content().subarray(4096), reference)).toBe(0);
  });

  it("has checksums that depend on generation, offset and every bit of a record", () => {
    const record = unsealedRecords([21], 3);
    const sum = recordChecksum(record, 0, 21, 7, 4096);
    expect(recordChecksum(record, 0, 21, 8, 4096)).not.toBe(sum);
    expect(recordChecksum(record, 0, 21, 7, 4104)).not.toBe(sum);
    for (let bit = 32; bit < 8 * (32 + 21); bit++) {
      const flipped = record.slice();
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(recordChecksum(flipped, 0, 21, 7, 4096)).not.toBe(sum);
    }
  });

  it.each([
    ["a header that is cut off", (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 8)],
    [
      "a payload that ends outside",
      (bytes: Uint8Array) => {
        new DataView(bytes.buffer).setUint32(4, 0xffff_ffff, true);
        return bytes;
      },
    ],
  ])("refuses to seal %s, and writes nothing from there on", async (_, damage) => {
    const bytes = damage(unsealedRecords([5, 24], 4));
    expect(await rejection(door.sealAndWrite(fd, bytes, 0, true, 1))).toMatchObject({
      code: "internal",
    });
    expect(content().length).toBe(0);
    const long = Buffer.concat([unsealedRecords([600_000, 600_000], 5), bytes]);
    expect(await rejection(door.sealAndWrite(fd, long, 0, true, 1))).toMatchObject({
      code: "internal",
    });
    expect(content().length).toBeLessThanOrEqual(long.length - bytes.length);
  });

  it("computes CRC32C, also piece by piece and at any alignment", () => {
    expect(door.crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
    expect(door.crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(door.crc32c(new Uint8Array(0))).toBe(0);
    fc.assert(
      fc.property(
        fc.nat(20_000),
        fc.nat(20_000),
        fc.nat(15),
        fc.nat(2 ** 31),
        (size, cut, shift, seed) => {
          const rng = seededRng(seed);
          const memory = Uint8Array.from({ length: size + shift }, () => rng.below(256));
          const bytes = memory.subarray(shift);
          const whole = door.crc32c(bytes);
          expect(whole).toBe(referenceCrc32c(bytes));
          expect(door.crc32c(bytes.subarray(cut), door.crc32c(bytes.subarray(0, cut)))).toBe(whole);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("rejects with the system's error", async () => {
    const full = openSync("/dev/full", "r+");
    expect(systemCode(await rejection(door.writeAndFlush(full, new Uint8Array(9), 0, true)))).toBe(
      "ENOSPC",
    );
    expect(
      systemCode(await rejection(door.sealAndWrite(full, unsealedRecords([9], 5), 0, true, 1))),
    ).toBe("ENOSPC");
    closeSync(full);
    const readOnly = openSync(join(dir, "file"), "r");
    expect(
      await rejection(door.writeAndFlush(readOnly, new Uint8Array(9), 0, false)),
    ).toMatchObject({
      code: "EBADF",
      syscall: "write",
    });
    expect(systemCode(await rejection(door.allocate(readOnly, 0, 4096, false)))).toBe("EBADF");
    closeSync(readOnly);
    expect(systemCode(await rejection(door.flush(999_999)))).toBe("EBADF");
    await door.writeAndFlush(fd, Buffer.from("still alive"), 0, true);
    expect(content().toString()).toBe("still alive");
  });

  it("does not hold up the event loop while it flushes", async () => {
    let turns = 0;
    const turning = setInterval(() => turns++, 0);
    await door.writeAndFlush(fd, new Uint8Array(64 << 20).fill(1), 0, true);
    clearInterval(turning);
    expect(turns).toBeGreaterThan(0);
  });

  it("reads without a wait what the system has in memory, and only that", async () => {
    await door.writeAndFlush(fd, new Uint8Array(10_000).fill(7), 0, true);
    const into = new Uint8Array(4_096);
    expect(door.readNow(fd, into, 5_000)).toBe(door.kind === "addon");
    expect(into.every((byte) => byte === (door.kind === "addon" ? 7 : 0))).toBe(true);
    expect(door.readNow(fd, into, 8_000)).toBe(false);
    expect(door.readNow(fd, into, 2 ** 40)).toBe(false);
    expect(door.readNow(-1, into, 0)).toBe(false);
  });

  it("gives an open file's lock to one at a time", () => {
    const first = openSync(join(dir, "lock"), "a+");
    const second = openSync(join(dir, "lock"), "a+");
    expect(door.tryLock(first)).toBe(true);
    expect(door.tryLock(first)).toBe(true);
    expect(door.tryLock(second)).toBe(false);
    closeSync(first);
    expect(door.tryLock(second)).toBe(true);
    closeSync(second);
  });

  it("loses its lock with its process, however that dies", async () => {
    const holder = spawn(process.execPath, [...FLAGS, fixture("lock-holder.ts"), dir, kind], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    const own = openSync(join(dir, "lock"), "a+");
    expect(door.tryLock(own)).toBe(false);
    holder.kill("SIGKILL");
    await once(holder, "exit");
    expect(door.tryLock(own)).toBe(true);
    closeSync(own);
  });

  it("survives threads that end while their operations are under way", async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...FLAGS,
      fixture("door-threads.ts"),
      dir,
      kind,
    ]);
    expect(stdout.trim()).toBe("4 threads ended, main thread still writes");
  });

  it("lets a process end when nothing is under way, and not before", async () => {
    const script = fixture("door-exit.ts");
    const { stdout } = await promisify(execFile)(process.execPath, [...FLAGS, script, dir, kind]);
    expect(stdout.trim()).toBe("written");
  });
});
