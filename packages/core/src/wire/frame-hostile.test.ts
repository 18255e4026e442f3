/** Frames from other versions and from nobody we know: what the codec must skip, and what it must refuse. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "./byte-writer.ts";
import { CHAIN_LENGTH_MAX, decodeClientFrame, FRAME_CANCELS_MAX } from "./client-frame-codec.ts";
import { decodeError } from "./error-codec.ts";
import { decodeCallRequest, decodeCallResponse } from "./unary-codec.ts";
import { decodeWelcome, writeWelcome } from "./welcome-codec.ts";
import * as arbitrary from "./wire.test.fixtures.ts";
import { codeOf, encodeClientFrame, plain, readHostFrame, write } from "./wire.test.fixtures.ts";

describe("evolution", () => {
  /** Fields nobody knows yet, of every wire type. */
  const unknown = Uint8Array.from([
    ...[0xf8, 0x3f, 0xff, 0x01],
    ...[0xf9, 0x3f, 1, 2, 3, 4, 5, 6, 7, 8],
    ...[0xfa, 0x3f, 2, 9, 9],
    ...[0xfd, 0x3f, 1, 2, 3, 4],
  ]);
  const around = (bytes: Uint8Array): Uint8Array => Uint8Array.of(...unknown, ...bytes, ...unknown);

  it("skips fields that are not known yet", () => {
    fc.assert(
      fc.property(arbitrary.clientFrame, (frame) => {
        expect(plain(decodeClientFrame(around(encodeClientFrame(frame))))).toEqual(plain(frame));
      }),
      { numRuns: 30 },
    );
    const inner = around(write("Call", { seq: 3, type: "t" }));
    const [call] = decodeClientFrame(Uint8Array.of(0x12, inner.length, ...inner)).calls;
    expect(call).toMatchObject({ seq: 3, type: "t" });
  });

  it("skips known fields that come with another wire type", () => {
    const bytes = Uint8Array.of(0x20 | 2, 1, 0, 0x18 | 0, 5);
    expect(decodeClientFrame(bytes)).toMatchObject({ ackedBelow: 0, cancels: [] });
  });

  it("accepts numbers written longer than need be", () => {
    expect(decodeClientFrame(Uint8Array.of(0xa0, 0x80, 0x00, 0x85, 0x80, 0x00)).ackedBelow).toBe(5);
  });
});

describe("hostile frames", () => {
  const decoders: readonly [string, (bytes: Uint8Array) => unknown][] = [
    ["ClientFrame", decodeClientFrame],
    ["HostFrame", readHostFrame],
    ["Welcome", decodeWelcome],
    ["CallRequest", decodeCallRequest],
    ["CallResponse", decodeCallResponse],
    ["Error", (bytes) => decodeError(bytes)],
  ];

  it.each([
    ["a length beyond the input", [0x12, 0x05, 0x08]],
    ["a length beyond 32 bits", [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]],
    ["a nested length beyond its message", [0x12, 0x03, 0x12, 0x7f, 0x61]],
    ["a number beyond 2^53", [0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ["a number of 11 bytes", [0x20, ...Array.from({ length: 10 }, () => 0x80), 0x00]],
    ["a number cut short", [0x20, 0x80]],
    ["an unknown number of 11 bytes", [0xf8, 0x3f, ...Array.from({ length: 10 }, () => 0xff), 1]],
    ["a time beyond 2^53", [0x29, ...Array.from({ length: 8 }, () => 0xff)]],
    ["a group", [0x13, 0x14]],
    ["field number 0", [0x02, 0x00]],
    ["text that is not UTF-8", [0x12, 0x06, 0x08, 0x01, 0x12, 0x02, 0xc3, 0x28]],
  ])("are malformed: %s", (_what, bytes) => {
    expect(codeOf(() => decodeClientFrame(Uint8Array.from(bytes)))).toBe("malformed-frame");
  });

  it("hold no more cancellations than a host can look for, and no endless chain", () => {
    const repeated = (item: readonly number[], count: number): number[] =>
      Array.from({ length: count }, () => item).flat();
    const cancels = (count: number) => Uint8Array.from(repeated([0x1a, 2, 8, 1], count));
    expect(decodeClientFrame(cancels(FRAME_CANCELS_MAX)).cancels).toHaveLength(FRAME_CANCELS_MAX);
    expect(codeOf(() => decodeClientFrame(cancels(FRAME_CANCELS_MAX + 1)))).toBe("malformed-frame");

    const chain = (count: number): Uint8Array => {
      const call = [8, 1, ...repeated([0x8a, 1, 1, 0x61], count)];
      return Uint8Array.from([0x12, (call.length & 0x7f) | 0x80, call.length >> 7, ...call]);
    };
    expect(decodeClientFrame(chain(CHAIN_LENGTH_MAX)).calls[0]?.chain).toHaveLength(64);
    expect(codeOf(() => decodeClientFrame(chain(CHAIN_LENGTH_MAX + 1)))).toBe("malformed-frame");
    expect(decodeClientFrame(Uint8Array.of(0x12, 2, 8, 1)).calls[0]?.chain).toEqual([]);
  });

  it.each(decoders)("of any bytes give a %s or malformed-frame", (_name, decode) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        expect(["none", "malformed-frame"]).toContain(codeOf(() => decode(bytes)));
      }),
      { numRuns: 2_000 },
    );
  });

  it("that were valid once give a frame or malformed-frame", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        arbitrary.clientFrame,
        arbitrary.welcome,
        flips,
        fc.nat(),
        (frame, welcome, places, cut) => {
          const w = new ByteWriter();
          writeWelcome(w, welcome);
          for (const [decode, valid] of [
            [decodeClientFrame, encodeClientFrame(frame)],
            [decodeWelcome, w.take()],
          ] as const) {
            const bytes = Uint8Array.from(valid);
            if (bytes.length === 0) continue;
            for (const [at, byte] of places) bytes[at % bytes.length] = byte;
            const shorter = bytes.subarray(0, cut % bytes.length);
            expect(["none", "malformed-frame"]).toContain(codeOf(() => decode(bytes)));
            expect(["none", "malformed-frame"]).toContain(codeOf(() => decode(shorter)));
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
