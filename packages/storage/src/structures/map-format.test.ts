import { createHash } from "node:crypto";
import { isPinionError, seededRng } from "@pinion/core";
import { describe, expect, test } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { map, type MapHandle } from "./map.ts";
import { testSeed } from "./test-seed.test.fixture.ts";

const strings = map({ key: "string" });

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** Lines of 16 bytes that are not all zero, each behind its offset. */
function dump(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16);
    if (line.some((byte) => byte !== 0))
      lines.push(`${at.toString(16).padStart(5, "0")} ${hex(line)}`);
  }
  return lines;
}

describe("the format of maps", () => {
  test("is frozen: header, bitmap, a leaf with a prefix, a value in a run", async () => {
    const extent = new MemoryExtent();
    const handle = strings.open(extent);
    await handle.set("airport/AMS", { delay: 3 });
    await handle.set("airport/ARN", null);
    await handle.set("airport/BER", new Uint8Array(1400).fill(0xbb));
    await handle.delete("airport/ARN");
    expect(dump(extent.bytes.subarray(0, 3 * 4096))).toEqual([
      // header: magic, kind 4, version 1; height 1, string keys, encoded values; root 2, 4 pages, 0 free, none below 4; 2 entries
      "00000 504e5354040001000101010000000000",
      "00010 02000000040000000000000004000000",
      "00020 02000000000000000000000000000000",
      // bitmap: pages 0 to 3
      "01000 0f000000000000000000000000000000",
      // leaf in page 2: 2 slots, cells from 0xfc2, 16 dead bytes, no prefix; slots 0xfe9 and 0xfc2
      "02000 0200000001000200c20f100000000000",
      "02010 00000000e90fc20fc20f000000000000",
      // BER: its value of 1,403 bytes is in a run from page 3
      "02fc0 00000b00616972706f72742f42455200",
      "02fd0 807b050000030000000b00616972706f",
      "02fe0 72742f41524e0100c00b00616972706f",
      "02ff0 72742f414d53080081a564656c617903",
    ]);
  });

  test("is frozen: two levels", async () => {
    const extent = new MemoryExtent();
    const handle = map({ key: "bytes", value: "bytes" }).open(extent);
    for (let i = 0; i < 1000; i++)
      await handle.set(Uint8Array.of(7, i >>> 8, i), Uint8Array.of(i, 1));
    expect(createHash("sha256").update(extent.bytes).digest("hex")).toBe(
      "223291b707712236c9f17cf9290aa82efb920ed552904b8f15495d5a258aa0fb",
    );
  });

  test("of a later version is refused as such", async () => {
    const extent = new MemoryExtent();
    await strings.open(extent).set("a", 1);
    const { bytes } = extent;
    bytes[6] = 2;
    const later = strings.open(new MemoryExtent({ bytes }));
    await expect(async () => later.get("a")).rejects.toMatchObject({ code: "format-too-new" });
    await expect(async () => later.set("a", 1)).rejects.toMatchObject({ code: "format-too-new" });
  });
});

/** Bytes of a map with two levels, long values and free pages, cheap to damage. */
async function someBytes(): Promise<Uint8Array> {
  const extent = new MemoryExtent();
  const handle = strings.open(extent);
  for (let i = 0; i < 400; i++)
    await handle.set(`key-${i % 10}/${i}`, i % 50 === 0 ? "x".repeat(5_000) : i);
  for (let i = 0; i < 400; i += 4) await handle.delete(`key-${i % 10}/${i}`);
  return extent.bytes;
}

const TYPED = new Set(["corruption", "format-too-new", "config-invalid"]);

/** Does everything that a map can do. Whatever it holds, that ends, with results or typed errors. */
async function expectTypedErrors(
  handle: MapHandle<string, unknown>,
  note: string,
): Promise<number> {
  let errors = 0;
  const attempt = async (work: () => unknown): Promise<void> => {
    try {
      await work();
    } catch (e) {
      errors++;
      if (!isPinionError(e) || !TYPED.has(e.code)) throw new Error(note, { cause: e });
    }
  };
  const drain = async (entries: AsyncIterable<unknown>): Promise<void> => {
    let count = 0;
    for await (const _ of entries) if (++count > 100_000) throw new Error("it does not end");
  };
  for (let i = 0; i < 400; i += 37) await attempt(() => handle.get(`key-${i % 10}/${i}`));
  await attempt(() => handle.size());
  await attempt(() => drain(handle.range()));
  await attempt(() => drain(handle.range({ reverse: true })));
  await attempt(() => drain(handle.prefix("key-3")));
  await attempt(() => handle.verify());
  for (let i = 0; i < 400; i += 7)
    await attempt(() => handle.set(`key-${i % 10}/${i}+`, i % 3 === 0 ? "y".repeat(6_000) : i));
  for (let i = 1; i < 400; i += 5) await attempt(() => handle.delete(`key-${i % 10}/${i}`));
  await attempt(() => drain(handle.range()));
  return errors;
}

describe.each([{ resident: true }, { resident: false }])(
  "damaged maps, resident: $resident",
  ({ resident }) => {
    test("bytes that were changed anywhere give typed errors or values, and an end", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const sound = await someBytes();
      let found = 0;
      for (let round = 0; round < (resident ? 300 : 60); round++) {
        const bytes = sound.slice();
        const flips = 1 + rng.below(8);
        for (let i = 0; i < flips; i++) {
          // Mostly where structure is: the header, the bitmap, heads and slots of nodes.
          const page = rng.below(bytes.length / 4096);
          const at = page * 4096 + rng.below(rng.chance(0.7) ? 128 : 4096);
          bytes[at] = rng.chance(0.3) ? rng.pick([0, 1, 0x7f, 0x80, 0xff]) : rng.below(256);
        }
        const handle = strings.open(new MemoryExtent({ bytes, resident }));
        found += await expectTypedErrors(handle, `seed ${seed}, round ${round}`);
      }
      expect(found).toBeGreaterThan(20);
    });

    test("pages that stand in for each other are found out", async () => {
      const seed = testSeed();
      const rng = seededRng(seed);
      const sound = await someBytes();
      for (let round = 0; round < (resident ? 100 : 30); round++) {
        const bytes = sound.slice();
        const [a, b] = [rng.below(bytes.length / 4096), rng.below(bytes.length / 4096)];
        bytes.copyWithin(a * 4096, b * 4096, (b + 1) * 4096);
        // Under the right number, too: then it is a node twice.
        if (rng.chance(0.5)) new DataView(bytes.buffer).setUint32(a * 4096, a, true);
        await expectTypedErrors(
          strings.open(new MemoryExtent({ bytes, resident })),
          `seed ${seed}, round ${round}`,
        );
      }
    });

    test("an extent that ends anywhere is found out", async () => {
      const sound = await someBytes();
      for (const length of [
        1,
        7,
        8,
        95,
        96,
        4095,
        4096,
        8192,
        9000,
        sound.length - 4096,
        sound.length - 1,
      ]) {
        const handle = strings.open(
          new MemoryExtent({ bytes: sound.subarray(0, length), resident }),
        );
        await expect(async () => handle.verify(), `${length} bytes`).rejects.toMatchObject({
          code: "corruption",
        });
        await expectTypedErrors(handle, `${length} bytes`);
      }
    });
  },
);
