import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { bytes, type BytesHandle } from "./bytes.ts";
import { expectCode, Turns } from "./structure.test.fixture.ts";

const step = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant("write"), fc.nat(20_000), fc.nat(9_000)) },
  { weight: 4, arbitrary: fc.tuple(fc.constant("update"), fc.nat(20_000), fc.nat(5_000)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("append"), fc.nat(0), fc.nat(9_000)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("resize"), fc.nat(30_000), fc.nat(0)) },
  { weight: 3, arbitrary: fc.tuple(fc.constant("read"), fc.nat(20_000), fc.nat(9_000)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("turn"), fc.nat(0), fc.nat(0)) },
);

const content = (byteCount: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: byteCount }, (_, i) => (i * 7 + seed * 13 + 1) % 251);

const bumped = (range: Uint8Array): void => {
  for (let i = 0; i < range.length; i++) range[i] = (range[i] as number) + 1;
};

describe("bytes", () => {
  it.each([true, false])(
    "are an array that survives its turns (resident: %s)",
    async (resident) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const turns = new Turns(bytes(), resident);
          let model = new Uint8Array(0);
          const grow = (length: number): void => {
            if (length <= model.length) return;
            const grown = new Uint8Array(length);
            grown.set(model);
            model = grown;
          };
          for (const [seed, [kind, at, byteCount]] of steps.entries()) {
            const { handle } = turns;
            const from = Math.min(at, model.length);
            const to = Math.min(at + byteCount, model.length);
            const written = content(byteCount, seed);
            if (kind === "turn") turns.next();
            else if (kind === "write") {
              await handle.write(at, written);
              if (byteCount > 0) grow(at + byteCount);
              model.set(written, byteCount > 0 ? at : 0);
            } else if (kind === "append") {
              expect(handle.append(written)).toBe(model.length);
              const end = model.length;
              grow(end + byteCount);
              model.set(written, end);
            } else if (kind === "resize") {
              await handle.resize(at);
              grow(at);
              model = model.slice(0, at);
            } else if (kind === "update") {
              await handle.update(from, to - from, bumped);
              bumped(model.subarray(from, to));
            } else {
              const read = await handle.read(from, to - from);
              expect(read).toEqual(model.slice(from, to));
              read.fill(0); // the caller's own
            }
            expect(turns.handle.lengthBytes).toBe(model.length);
          }
          expect(await turns.next().read(0, model.length)).toEqual(model);
        }),
      );
    },
  );

  it("look through a view as they are now, also where a number lies in two pages", () => {
    const extent = new MemoryExtent();
    const handle = bytes().open(extent);
    const view = handle.view();
    expect(view.length).toBe(0);
    void handle.write(0, content(10_000, 1));
    const plain = new DataView(content(10_000, 1).buffer);
    for (const at of [0, 1, 4_093, 4_095, 4_096, 8_190, 9_992]) {
      expect(view.getUint8(at)).toBe(plain.getUint8(at));
      expect(view.getInt8(at)).toBe(plain.getInt8(at));
      expect(view.getUint16(at)).toBe(plain.getUint16(at));
      expect(view.getInt16(at, true)).toBe(plain.getInt16(at, true));
      expect(view.getUint32(at, true)).toBe(plain.getUint32(at, true));
      expect(view.getInt32(at)).toBe(plain.getInt32(at));
      expect(view.getFloat32(at)).toBe(plain.getFloat32(at));
      expect(view.getFloat64(at, true)).toBe(plain.getFloat64(at, true));
      expect(view.getBigInt64(at)).toBe(plain.getBigInt64(at));
      expect(view.getBigUint64(at, true)).toBe(plain.getBigUint64(at, true));
    }
    void handle.write(4_096, Uint8Array.of(7, 8, 9));
    expect(view.getUint16(4_095)).toBe(plain.getUint8(4_095) * 256 + 7);
    expect(view.toBytes(4_096, 4_099)).toEqual(Uint8Array.of(7, 8, 9));
    expect(view.unsafeBytes(4_097).length).toBe(10_000 - 4_097);
  });

  it("say what they cannot do, and do nothing of it", async () => {
    const extent = new MemoryExtent({ bytes: content(100, 0) });
    const handle = bytes().open(extent);
    const wrong: ((handle: BytesHandle) => unknown)[] = [
      (h) => h.read(90, 11),
      (h) => h.read(-1, 1),
      (h) => h.read(0.5, 1),
      (h) => h.read(NaN, 1),
      (h) => h.update(100, 1, bumped),
      (h) => h.update(0, 1, (async () => {}) as () => void),
      (h) => h.write(0, "text" as unknown as Uint8Array),
      (h) => h.append([1, 2] as unknown as Uint8Array),
      (h) => h.update(0, 4, () => void h.write(8, Uint8Array.of(1))),
      (h) => h.view().getUint32(97),
      (h) => h.view().getUint8(-1),
      (h) => h.view().getUint8(1.5),
      (h) => {
        const view = h.view();
        view.getUint8(2);
        return view.getUint8(2.5);
      },
      (h) => h.view().unsafeBytes(5, 4),
      (h) => h.view().toBytes(0, 101),
      (h) => h.prefetch(0, Infinity),
    ];
    for (const attempt of wrong) await expectCode(() => attempt(handle), "invalid-argument");
    expect(handle.view().toBytes()).toEqual(content(100, 0));
    const view = handle.view();
    view.getUint8(0);
    extent.end();
    for (const late of [
      () => view.getUint8(0),
      () => view.length,
      () => handle.read(0, 1),
      () => handle.write(0, Uint8Array.of(1)),
    ])
      await expectCode(late, "view-expired");
  });

  it("are only read by a readonly turn, and viewed in memory only", async () => {
    const extent = new MemoryExtent({ bytes: content(100, 0), readonly: true, resident: false });
    const handle = bytes().open(extent);
    await expectCode(() => handle.write(0, Uint8Array.of(1)), "readonly-violation");
    await expectCode(() => handle.update(0, 4, bumped), "readonly-violation");
    await expectCode(() => handle.append(Uint8Array.of(1)), "readonly-violation");
    await expectCode(() => handle.resize(4), "readonly-violation");
    await expectCode(() => handle.view(), "not-resident");
    expect(await handle.read(0, 4)).toEqual(content(100, 0).slice(0, 4));
  });

  it("wait for a write that waits, and say so when somebody does not", async () => {
    const handle = bytes().open(new MemoryExtent({ bytes: content(100, 0), resident: false }));
    const writing = handle.write(0, Uint8Array.of(1));
    await expectCode(() => handle.read(0, 1), "invalid-argument");
    await writing;
    expect(await handle.read(0, 1)).toEqual(Uint8Array.of(1));
  });

  it("grow by what they are told", () => {
    expect(bytes({ grow: "1MiB" }).options.growBytes).toBe(2 ** 20);
    expect(() => bytes({ grow: "1KiB" })).toThrow(
      expect.objectContaining({ code: "config-invalid" }),
    );
  });
});
