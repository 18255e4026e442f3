/** How memory outside the heap is filled from files: everything that is damaged or missing is reported, in its place. */
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectSame, DOORS, isZero, memoryHarness, PAGE } from "./fixtures/memory-harness.ts";
import { checksOf, CHUNK_BYTES, type LoadRun } from "./fixtures/memory-helpers.ts";

describe.each(DOORS)("memory door: %s", (_kind, make) => {
  const h = memoryHarness(make);

  describe("load", () => {
    it.each([
      ["on a page", 0, 3 * CHUNK_BYTES],
      ["between pages", 4097, CHUNK_BYTES + PAGE],
      ["of one page", 12_288, PAGE],
    ])("brings in what a file holds from an offset %s", async (_, fileOffset, byteCount) => {
      const file = h.fileOf(4 * CHUNK_BYTES);
      const region = h.reserve(4);
      const checks = checksOf(file.subarray(fileOffset, fileOffset + byteCount));
      expect(
        await region.load([{ fd: h.fd, fileOffset, regionOffset: 5 * PAGE, byteCount, checks }]),
      ).toEqual({ damaged: [], short: [] });
      expectSame(
        h.contentOf(region, 5 * PAGE, byteCount),
        file.subarray(fileOffset, fileOffset + byteCount),
      );
      expect(isZero(h.contentOf(region, 0, 5 * PAGE))).toBe(true);
    });

    it("takes runs of several files in any order, and nothing at all", async () => {
      const file = h.fileOf(300 * PAGE);
      const other = openSync(join(h.dir, "other"), "w+");
      const bytes = Buffer.alloc(10 * PAGE, 0xab);
      writeSync(other, bytes);
      const region = h.reserve(2);
      expect(await region.load([])).toEqual({ damaged: [], short: [] });
      const runs: LoadRun[] = [];
      for (let i = 0; i < 300; i++)
        runs.push({
          fd: h.fd,
          fileOffset: (299 - i) * PAGE,
          regionOffset: i * PAGE,
          byteCount: PAGE,
        });
      runs.splice(150, 0, {
        fd: other,
        fileOffset: 0,
        regionOffset: 310 * PAGE,
        byteCount: 10 * PAGE,
      });
      expect(await region.load(runs)).toEqual({ damaged: [], short: [] });
      for (const i of [0, 1, 149, 150, 299])
        expectSame(
          h.contentOf(region, i * PAGE, PAGE),
          file.subarray((299 - i) * PAGE, (300 - i) * PAGE),
        );
      expectSame(h.contentOf(region, 310 * PAGE, 10 * PAGE), bytes);
      closeSync(other);
    });

    it("says exactly which pages do not match, in order", async () => {
      const file = h.fileOf(2_000 * PAGE);
      const region = h.reserve(5);
      const checks = checksOf(file);
      const bad = [0, 3, 511, 512, 1_023, 1_500, 1_999];
      for (const [i, page] of bad.entries()) {
        // A bit of the page, of the checksum, or of what the checksum begins with.
        if (i % 3 === 0)
          writeSync(h.fd, Uint8Array.of(~file[page * PAGE + i]!), 0, 1, page * PAGE + i);
        else checks[page * 32 + (i % 3 === 1 ? 31 : 5)]! ^= 1;
      }
      const half = 1_000 * PAGE;
      const runs = [1, 0].map((i) => ({
        fd: h.fd,
        fileOffset: i * half,
        regionOffset: PAGE + i * half,
        byteCount: half,
        checks: checks.subarray(i * 32_000, (i + 1) * 32_000),
      }));
      const { damaged, short } = await region.load(runs);
      expect(damaged).toEqual(bad.map((page) => (page + 1) * PAGE));
      expect(short).toEqual([]);
    });

    it("finds every page of a damaged file", async () => {
      h.fileOf(600 * PAGE);
      const region = h.reserve(2);
      const checks = new Uint8Array(600 * 32);
      const { damaged } = await region.load([
        { fd: h.fd, fileOffset: 0, regionOffset: 0, byteCount: 600 * PAGE, checks },
      ]);
      expect(damaged).toEqual(Array.from({ length: 600 }, (_, i) => i * PAGE));
    });

    it.each([0, 100, PAGE, 3 * PAGE + 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 7])(
      "says where a file of %s bytes ends too soon",
      async (fileBytes) => {
        const file = h.fileOf(fileBytes);
        const whole = Math.floor(fileBytes / PAGE) * PAGE;
        const region = h.reserve(8);
        const byteCount = 3 * CHUNK_BYTES;
        const checks = new Uint8Array((byteCount / PAGE) * 32);
        checks.set(checksOf(file.subarray(0, whole)));
        const result = await region.load([
          { fd: h.fd, fileOffset: 0, regionOffset: CHUNK_BYTES, byteCount, checks },
          { fd: h.fd, fileOffset: 1 << 30, regionOffset: 6 * CHUNK_BYTES, byteCount: PAGE },
        ]);
        expect(result).toEqual({
          damaged: [],
          short: [CHUNK_BYTES + fileBytes, 6 * CHUNK_BYTES],
        });
        expectSame(h.contentOf(region, CHUNK_BYTES, whole), file.subarray(0, whole));
      },
    );

    it("writes into views that are there", async () => {
      const file = h.fileOf(20 * PAGE);
      const region = h.reserve(1);
      const before = new Uint8Array(region.view(0, 5 * PAGE)).fill(1);
      const after = new Uint8Array(region.view(5 * PAGE, 300 * PAGE)).fill(2);
      await region.load([{ fd: h.fd, fileOffset: 0, regionOffset: PAGE, byteCount: 20 * PAGE }]);
      expect(before[PAGE - 1]).toBe(1);
      expectSame(before.subarray(PAGE), file.subarray(0, 4 * PAGE));
      expectSame(after.subarray(0, 16 * PAGE), file.subarray(4 * PAGE));
      expect(after[16 * PAGE]).toBe(2);
    });

    it("rejects with a typed error when a file cannot be read", async () => {
      const region = h.reserve(1);
      const folder = openSync(h.dir, "r");
      const run = { fileOffset: 0, regionOffset: 0, byteCount: PAGE };
      await expect(region.load([{ fd: folder, ...run }])).rejects.toMatchObject({
        code: "io-error",
        details: { errno: "EISDIR" },
      });
      closeSync(folder);
      await expect(region.load([{ fd: 999_999, ...run }])).rejects.toMatchObject({
        code: "io-error",
        details: { errno: "EBADF" },
      });
      h.fileOf(PAGE);
      expect(await region.load([{ fd: h.fd, ...run }])).toEqual({ damaged: [], short: [] });
    });

    it("goes on to its end when its region is released meanwhile", async () => {
      const file = h.fileOf(16 * CHUNK_BYTES);
      const region = h.reserve(16);
      const view = new Uint8Array(region.view(0, 16 * CHUNK_BYTES));
      const run = { fd: h.fd, fileOffset: 0, regionOffset: 0, byteCount: 16 * CHUNK_BYTES };
      const loads = [
        region.load([{ ...run, checks: checksOf(file) }]),
        region.populate(0, region.byteCount),
        region.load([run]),
      ];
      region.release();
      expect(view.length).toBe(0);
      const [first, , second] = await Promise.all(loads);
      expect([first, second]).toEqual(Array(2).fill({ damaged: [], short: [] }));
    });

    it("lets the event loop turn meanwhile, and many at once", async () => {
      h.fileOf(4 * CHUNK_BYTES);
      const region = h.reserve(64);
      let turns = 0;
      const turning = setInterval(() => turns++, 0);
      const results = await Promise.all(
        Array.from({ length: 200 }, (_, i) =>
          region.load([
            {
              fd: h.fd,
              fileOffset: 0,
              regionOffset: (i % 60) * CHUNK_BYTES,
              byteCount: 4 * CHUNK_BYTES,
            },
          ]),
        ),
      );
      clearInterval(turning);
      expect(results).toHaveLength(200);
      expect(turns).toBeGreaterThan(0);
    });
  });
});
