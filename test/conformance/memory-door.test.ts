/** What both sources of memory outside the heap do: the addon, and ordinary buffers where it could not be built. */
import { ftruncateSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  expectSame,
  hasAddon,
  INTERNAL,
  DOORS,
  isZero,
  memoryHarness,
  PAGE,
} from "./fixtures/memory-harness.ts";
import { CHUNK_BYTES, memoryDoor } from "./fixtures/memory-helpers.ts";

describe.skipIf(!hasAddon)("the addon", () => {
  it("is where a thread's memory comes from, the same one every time", () => {
    expect(memoryDoor()).toMatchObject({ kind: "addon", degraded: undefined });
    expect(memoryDoor()).toBe(memoryDoor());
  });
});

describe.each(DOORS)("memory door: %s", (kind, make) => {
  const native = kind === "addon";
  const h = memoryHarness(make);

  it("says what it is", () => {
    expect(h.door.kind).toBe(kind);
    expect(h.door.degraded).toBeUndefined();
    expect(h.reserve(3)).toMatchObject({ kind: "anonymous", byteCount: 3 * CHUNK_BYTES });
    h.fileOf(PAGE);
    expect(h.mapFile(0, PAGE)).toMatchObject({ kind: "file", byteCount: PAGE });
  });

  it("reserves far more address space than there is memory", () => {
    const region = h.reserve(32 * 1024); // 64 GiB
    const end = region.view(region.byteCount - PAGE, PAGE);
    const bytes = new Uint8Array(end);
    expect(isZero(bytes)).toBe(true);
    bytes[4095] = 9;
    region.detach(end);
    expect(h.contentOf(region, region.byteCount - 1, 1)[0]).toBe(9);
    expect(isZero(h.contentOf(region, 2 ** 35, 100))).toBe(true);
  });

  describe("views", () => {
    it("show the same memory from one view to the next, in other cuts too", () => {
      const region = h.reserve(2);
      const one = region.view(PAGE, 3 * PAGE);
      new Uint8Array(one).fill(7);
      region.detach(one);
      const left = region.view(0, 2 * PAGE);
      const right = region.view(2 * PAGE, 100 * PAGE);
      expect([...new Uint8Array(left).subarray(PAGE - 1, PAGE + 1)]).toEqual([0, 7]);
      expect([...new Uint8Array(right).subarray(2 * PAGE - 1, 2 * PAGE + 1)]).toEqual([7, 0]);
      new Float64Array(left)[0] = Math.PI;
      region.detach(left);
      region.detach(right);
      expect(h.contentOf(region, 0, 8).readDoubleLE()).toBe(Math.PI);
    });

    it("are empty once they are taken back, with everything made over them", () => {
      const region = h.reserve(1);
      const buffer = region.view(0, 2 * PAGE);
      const arrays = [
        new Uint8Array(buffer),
        new Float64Array(buffer, 8, 4),
        new Int16Array(buffer, PAGE),
        Buffer.from(buffer, 100, 50),
      ];
      const view = new DataView(buffer, 16);
      region.detach(buffer);
      expect(buffer.byteLength).toBe(0);
      expect(buffer.detached).toBe(true);
      for (const array of arrays) {
        expect(array.length).toBe(0);
        expect(array[0]).toBeUndefined();
        array[0] = 1; // A stray write goes nowhere.
        expect(array[0]).toBeUndefined();
      }
      expect(() => view.getUint8(0)).toThrow(TypeError);
      expect(isZero(h.contentOf(region, 0, 2 * PAGE))).toBe(true);
      region.detach(buffer);
      region.detach(new ArrayBuffer(8));
    });

    it("may be of any length, and again after they were taken back", () => {
      const region = h.reserve(1);
      for (const byteCount of [1, 4095, PAGE, 5000, CHUNK_BYTES]) {
        const buffer = region.view(0, byteCount);
        expect(buffer.byteLength).toBe(byteCount);
        region.detach(buffer);
      }
    });

    it("never show the same bytes twice at a time", () => {
      const region = h.reserve(4);
      const buffer = region.view(PAGE, 5000);
      for (const [offset, byteCount] of [
        [PAGE, 1],
        [2 * PAGE, PAGE],
        [0, 2 * PAGE],
        [0, 4 * CHUNK_BYTES],
      ] as const)
        expect(() => region.view(offset, byteCount)).toThrow(INTERNAL);
      region.detach(region.view(0, PAGE));
      region.detach(region.view(3 * PAGE, 300 * PAGE));
      region.detach(buffer);
      region.detach(region.view(0, 4 * CHUNK_BYTES));
    });

    it("may be transferred: the memory stays with the new buffer as long as that lives", async () => {
      const region = h.reserve(1);
      const buffer = region.view(0, PAGE);
      const array = new Uint8Array(buffer).fill(5);
      const other = buffer.transfer();
      expect([array.length, other.byteLength]).toEqual([0, PAGE]);
      const bytes = new Uint8Array(other);
      region.detach(buffer);
      expect(bytes.length).toBe(PAGE);
      // The range has a view again; what it holds nobody promised.
      expect(region.view(0, PAGE).byteLength).toBe(PAGE);
      region.release();
      await new Promise((resolve) => setImmediate(resolve));
      expect(bytes.length).toBe(PAGE);
      bytes[17] = 3;
      expect(bytes[17]).toBe(3);
      expect(bytes.slice().length).toBe(PAGE);
    });

    it("are kept over a release and are empty then", () => {
      const region = h.reserve(8);
      const kept = Array.from({ length: 100 }, (_, i) => region.view(i * 2 * PAGE, 2 * PAGE));
      const arrays = kept.map((buffer) => new Uint8Array(buffer).fill(1));
      region.detach(kept[50]!);
      region.release();
      for (const array of arrays) expect(array.length).toBe(0);
      region.detach(kept[0]!);
    });

    it("grow by a copy into a larger range", async () => {
      const region = h.reserve(8);
      const small = region.view(0, 16 * PAGE);
      const bytes = new Uint8Array(small).map((_, i) => i);
      new Uint8Array(small).set(bytes);
      await region.populate(CHUNK_BYTES, 64 * PAGE);
      const large = region.view(CHUNK_BYTES, 64 * PAGE);
      new Uint8Array(large).set(new Uint8Array(small));
      region.detach(small);
      region.discard(0, 16 * PAGE);
      expect(small.byteLength).toBe(0);
      expectSame(new Uint8Array(large, 0, 16 * PAGE), bytes);
      expect(isZero(h.contentOf(region, 0, 16 * PAGE))).toBe(true);
    });
  });

  describe("files", () => {
    it("show what the file holds, and keep changes to themselves", async () => {
      const file = h.fileOf(3 * CHUNK_BYTES);
      const region = h.mapFile(PAGE, 2 * CHUNK_BYTES);
      await region.populate(0, CHUNK_BYTES);
      const buffer = region.view(0, 2 * CHUNK_BYTES);
      const bytes = new Uint8Array(buffer);
      expectSame(bytes, file.subarray(PAGE, PAGE + 2 * CHUNK_BYTES));
      bytes.fill(1, 100, 200);
      region.detach(buffer);
      expect(h.contentOf(region, 99, 102)).toEqual(
        Buffer.concat([
          file.subarray(PAGE + 99, PAGE + 100),
          Buffer.alloc(100, 1),
          file.subarray(PAGE + 200, PAGE + 201),
        ]),
      );
      expectSame(readFileSync(join(h.dir, "file")), file);
      region.discard(0, PAGE);
      expectSame(h.contentOf(region, 0, PAGE), file.subarray(PAGE, 2 * PAGE));
      await region.load([{ fd: h.fd, fileOffset: 0, regionOffset: 2 * PAGE, byteCount: PAGE }]);
      expectSame(h.contentOf(region, 2 * PAGE, PAGE), file.subarray(0, PAGE));
      expectSame(readFileSync(join(h.dir, "file")), file);
    });

    it("are mapped as far as they go, no further", () => {
      h.fileOf(3 * PAGE + 5);
      h.mapFile(0, 3 * PAGE);
      for (const [offset, byteCount] of [
        [0, 4 * PAGE],
        [3 * PAGE, PAGE],
        [1 << 30, PAGE],
      ] as const)
        expect(() => h.door.mapFile(h.fd, offset, byteCount)).toThrow(
          expect.objectContaining({ code: "corruption" }),
        );
    });

    it("can be copied from although they were cut short, as far as they go", () => {
      const file = h.fileOf(8 * PAGE);
      const region = h.mapFile(0, 8 * PAGE);
      ftruncateSync(h.fd, 3 * PAGE);
      const into = Buffer.alloc(3 * PAGE);
      expect(h.door.guardedCopy(region, 0, into)).toBe(true);
      expectSame(into, file.subarray(0, 3 * PAGE));
      for (let i = 0; i < 100; i++)
        expect(h.door.guardedCopy(region, (3 + (i % 5)) * PAGE, Buffer.alloc(PAGE))).toBe(false);
      expect(h.door.guardedCopy(region, 2 * PAGE, Buffer.alloc(2 * PAGE))).toBe(false);
      expect(h.door.guardedCopy(region, 3 * PAGE - 8, Buffer.alloc(8))).toBe(true);
    });

    it("cut short are a typed error when they are brought in", async () => {
      h.fileOf(8 * PAGE);
      const region = h.mapFile(0, 8 * PAGE);
      ftruncateSync(h.fd, 3 * PAGE);
      await expect(region.populate(0, 8 * PAGE)).rejects.toMatchObject({ code: "io-error" });
      await region.populate(0, 3 * PAGE);
    });
  });

  it("refuses what is not a range of the region", async () => {
    const region = h.reserve(2);
    const size = 2 * CHUNK_BYTES;
    h.fileOf(2 * PAGE);
    const wrong: [number, number][] = [
      [-PAGE, PAGE],
      [0, size + PAGE],
      [size, PAGE],
      [PAGE, size],
      [0, -PAGE],
      [Number.NaN, PAGE],
      [0, Infinity],
      [2 ** 60, 2 ** 60],
    ];
    const unaligned: [number, number][] = [
      [1, PAGE],
      [0, 100],
    ];
    for (const [offset, byteCount] of [...wrong, ...unaligned]) {
      await expect(region.populate(offset, byteCount)).rejects.toThrow(INTERNAL);
      await expect(region.lock(offset, byteCount)).rejects.toThrow(INTERNAL);
      expect(() => region.unlock(offset, byteCount)).toThrow(INTERNAL);
      expect(() => region.discard(offset, byteCount)).toThrow(INTERNAL);
      expect(() => region.residentBytes(offset, byteCount)).toThrow(INTERNAL);
      await expect(region.measure(offset, byteCount)).rejects.toThrow(INTERNAL);
      await expect(region.moveTo(offset, byteCount, 0)).rejects.toThrow(INTERNAL);
      await expect(
        region.load([{ fd: h.fd, fileOffset: 0, regionOffset: offset, byteCount }]),
      ).rejects.toThrow(INTERNAL);
    }
    for (const [offset, byteCount] of [...wrong, [1, PAGE] as const, [0, 0] as const])
      expect(() => region.view(offset, byteCount)).toThrow(INTERNAL);
    for (const checks of [new Uint8Array(31), new Uint8Array(33), new Uint8Array(64)])
      await expect(
        region.load([{ fd: h.fd, fileOffset: 0, regionOffset: 0, byteCount: PAGE, checks }]),
      ).rejects.toThrow(INTERNAL);
    await expect(
      region.load([{ fd: h.fd, fileOffset: -1, regionOffset: 0, byteCount: PAGE }]),
    ).rejects.toThrow(INTERNAL);
    await expect(
      region.load([{ fd: h.fd, fileOffset: 0, regionOffset: 0, byteCount: 0 }]),
    ).rejects.toThrow(INTERNAL);
    expect(() => h.door.guardedCopy(region, size - 10, Buffer.alloc(11))).toThrow(INTERNAL);
    expect(() => h.door.guardedCopy(region, -1, Buffer.alloc(1))).toThrow(INTERNAL);
    for (const byteCount of [0, PAGE, -CHUNK_BYTES, Number.NaN])
      expect(() => h.door.reserve(byteCount)).toThrow(INTERNAL);
    for (const [byteCount, reservedPageBytes] of [
      [CHUNK_BYTES, 2 ** 30],
      [CHUNK_BYTES, PAGE],
      [2 ** 30 + CHUNK_BYTES, 2 ** 30],
    ] as const)
      expect(() => h.door.reserve(byteCount, { reservedPageBytes })).toThrow(INTERNAL);
    for (const [offset, byteCount] of [...unaligned, [0, 0] as const, [-PAGE, PAGE] as const])
      expect(() => h.door.mapFile(h.fd, offset, byteCount)).toThrow(INTERNAL);
    expect(isZero(h.contentOf(region, 0, size))).toBe(true);
  });

  it("refuses everything on a region that was released", async () => {
    const region = h.reserve(1);
    region.release();
    await expect(region.populate(0, PAGE)).rejects.toThrow(INTERNAL);
    await expect(region.load([])).rejects.toThrow(INTERNAL);
    await expect(region.lock(0, PAGE)).rejects.toThrow(INTERNAL);
    expect(() => region.unlock(0, PAGE)).toThrow(INTERNAL);
    expect(() => region.discard(0, PAGE)).toThrow(INTERNAL);
    expect(() => region.residentBytes(0, PAGE)).toThrow(INTERNAL);
    await expect(region.measure(0, PAGE)).rejects.toThrow(INTERNAL);
    await expect(region.moveTo(0, PAGE, 0)).rejects.toThrow(INTERNAL);
    expect(() => region.view(0, PAGE)).toThrow(INTERNAL);
    expect(() => h.door.guardedCopy(region, 0, Buffer.alloc(1))).toThrow(INTERNAL);
    expect(() => region.release()).toThrow(INTERNAL);
  });

  it("says that there is no more address space", () => {
    if (native)
      expect(() => h.door.reserve(2 ** 47)).toThrow(
        expect.objectContaining({ code: "overloaded" }),
      );
    // Ordinary buffers are not there before they are used.
    else expect(() => h.reserve(32).view(0, 1)).not.toThrow();
  });

  it("agrees with a model, whatever is done to it", async () => {
    const pages = 1_536; // 3 chunks
    const file = h.fileOf(pages * PAGE, 9);
    const range = fc
      .tuple(
        fc.nat(pages - 1),
        fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 600 })),
      )
      .map(([at, count]) => [at * PAGE, Math.min(count, pages - at) * PAGE] as const);
    const step = fc.oneof(
      fc.tuple(fc.constant("view" as const), range),
      fc.tuple(fc.constant("write" as const), range),
      fc.tuple(fc.constant("detach" as const), range),
      fc.tuple(fc.constant("load" as const), range),
      fc.tuple(fc.constant("discard" as const), range),
      fc.tuple(fc.constant("populate" as const), range),
    );
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(step, { maxLength: 40 }), async (mapped, steps) => {
        const region = mapped
          ? h.door.mapFile(h.fd, 0, pages * PAGE)
          : h.door.reserve(pages * PAGE);
        const model = mapped ? Buffer.from(file) : Buffer.alloc(pages * PAGE);
        const views: { buffer: ArrayBuffer; offset: number }[] = [];
        let mark = 0;
        for (const [what, [offset, byteCount]] of steps) {
          const overlap = views.filter(
            (view) =>
              view.offset < offset + byteCount && offset < view.offset + view.buffer.byteLength,
          );
          if (what === "view" && overlap.length === 0)
            views.push({ buffer: region.view(offset, byteCount), offset });
          for (const view of overlap) {
            if (what === "write") {
              mark = (mark + 1) % 256;
              new Uint8Array(view.buffer).fill(mark);
              model.fill(mark, view.offset, view.offset + view.buffer.byteLength);
            }
            if (what === "detach") {
              region.detach(view.buffer);
              views.splice(views.indexOf(view), 1);
            }
          }
          if (what === "load") {
            const fileOffset = (pages * PAGE - byteCount) / 2;
            await region.load([{ fd: h.fd, fileOffset, regionOffset: offset, byteCount }]);
            file.copy(model, offset, fileOffset, fileOffset + byteCount);
          }
          if (what === "discard") {
            region.discard(offset, byteCount);
            if (mapped) file.copy(model, offset, offset, offset + byteCount);
            else model.fill(0, offset, offset + byteCount);
          }
          if (what === "populate") await region.populate(offset, byteCount);
          for (const view of views)
            expectSame(
              new Uint8Array(view.buffer),
              model.subarray(view.offset, view.offset + view.buffer.byteLength),
            );
        }
        expectSame(h.contentOf(region, 0, pages * PAGE), model);
        region.release();
      }),
      { numRuns: 60 },
    );
  });
});
