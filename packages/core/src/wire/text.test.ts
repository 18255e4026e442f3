import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidUtf8, readText, TextCache } from "./text.ts";

const utf8 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "utf8"));

describe("text from bytes", () => {
  it("is what was written, cached or not, long or short", () => {
    const cache = new TextCache(4);
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 80 }), fc.nat(5), (text, offset) => {
        const bytes = new Uint8Array([...new Uint8Array(offset), ...utf8(text), 1]);
        const end = bytes.length - 1;
        expect(readText(bytes, offset, end)).toBe(text);
        expect(cache.read(bytes, offset, end)).toBe(text);
        expect(cache.read(bytes, offset, end)).toBe(text);
      }),
      { numRuns: 1_000 },
    );
  });

  it("does not depend on what the cache holds for the same slot", () => {
    const cache = new TextCache(2);
    for (const text of ["abc", "abd", "abc", "ab", "é", "Ã©", "abc", "abc", "abd", "ab", "abc"])
      expect(cache.read(utf8(text), 0, utf8(text).length)).toBe(text);
  });

  it("may hold U+FFFD itself", () => {
    const text = `${"x".repeat(40)}\ufffd`;
    expect(readText(utf8(text), 0, utf8(text).length)).toBe(text);
  });

  it("is refused when it is not UTF-8, wherever the bad byte is", () => {
    for (const length of [1, 10, 30, 100]) {
      const bytes = new Uint8Array(length).fill(0x61);
      bytes[length - 1] = 0xc3;
      expect(() => readText(bytes, 0, length)).toThrow(InvalidUtf8);
      expect(() => new TextCache(8).read(bytes, 0, length)).toThrow(InvalidUtf8);
    }
  });
});
