import { describe, expect, it } from "vitest";
import { isPinionError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";

describe("ByteWriter", () => {
  it("hands out finished units that later writing does not touch", () => {
    const w = new ByteWriter(4096);
    const units: Buffer[] = [];
    for (let i = 0; i < 1000; i++) {
      for (let j = 0; j < i % 50; j++) w.byte(i & 0xff);
      units.push(w.take());
    }
    units.forEach((unit, i) => {
      expect(unit.length).toBe(i % 50);
      expect(unit.every((byte) => byte === (i & 0xff))).toBe(true);
    });
  });

  it("keeps offsets while it grows", () => {
    const w = new ByteWriter(64);
    w.bytes(new Uint8Array(10));
    w.take();
    const at = w.position;
    w.byte(0xaa);
    w.bytes(new Uint8Array(100_000).fill(0xbb));
    expect(w.buffer[at]).toBe(0xaa);
    expect(w.take()).toHaveLength(100_001);
  });

  it("goes back to slabs of its own size after a large unit", () => {
    const w = new ByteWriter(4096);
    w.bytes(new Uint8Array(1_000_000));
    w.take();
    expect(w.buffer.length).toBe(4096);
  });

  it("refuses a unit beyond its bound", () => {
    const w = new ByteWriter(64, 1000);
    w.bytes(new Uint8Array(990));
    try {
      w.bytes(new Uint8Array(11));
      expect.unreachable();
    } catch (e) {
      expect(isPinionError(e, "frame-too-large")).toBe(true);
    }
  });

  it("opens a gap in what was written", () => {
    const w = new ByteWriter(8);
    w.bytes(Uint8Array.of(1, 2, 3, 4, 5, 6));
    w.openGap(2, 3);
    w.buffer.fill(9, 2, 5);
    expect([...w.take()]).toEqual([1, 2, 9, 9, 9, 3, 4, 5, 6]);
  });

  it("drops a unit on reset and keeps those before", () => {
    const w = new ByteWriter();
    w.byte(1);
    const kept = w.take();
    w.byte(2);
    w.reset();
    w.byte(3);
    expect([...kept, ...w.take()]).toEqual([1, 3]);
  });
});
