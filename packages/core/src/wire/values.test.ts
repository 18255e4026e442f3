import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { isPinionError, type PinionError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { DEPTH_MAX } from "./value-format.ts";
import { GOLDEN_VALUES } from "./value.test.golden.ts";
import {
  decodeArgs,
  decodeValue,
  encodeArgs,
  encodeValue,
  writeArgs,
  writeValue,
} from "./values.ts";

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const fromHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));

function errorOf(run: () => unknown): PinionError {
  try {
    run();
  } catch (e) {
    if (isPinionError(e)) return e;
    throw e;
  }
  throw new Error("expected an error");
}

/** A standard MessagePack library without our extensions. */
const foreign = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: "number" });

/** Plain data every MessagePack library agrees on. */
const plainValue = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).map((n) => (n === 0 ? 0 : n)), // libraries differ on -0
    fc.string({ unit: "grapheme", maxLength: 80 }),
    fc.uint8Array({ maxLength: 300 }).map((b) => new Uint8Array(b)),
    fc.array(tie("value"), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ unit: "grapheme", maxLength: 50 }).filter((key) => key !== "__proto__"),
      tie("value"),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).value;

/** Everything that can be sent. */
const anyValue = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    plainValue,
    fc.constant(undefined),
    fc.constant(-0),
    fc.constant(NaN),
    fc.bigInt(),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
    fc.date({ noInvalidDate: true }),
    fc.float64Array({ maxLength: 5 }).map((a) => new Float64Array(a)),
    fc.int16Array({ maxLength: 5 }).map((a) => new Int16Array(a)),
    fc.array(tie("value"), { maxLength: 5 }).map((items) => new Set(items)),
    fc
      .array(fc.tuple(tie("value"), tie("value")), { maxLength: 5 })
      .map((entries) => new Map(entries)),
    fc.array(tie("value"), { maxLength: 5 }),
  ),
})).value;

describe("values as bytes", () => {
  it.each(GOLDEN_VALUES)("keeps the bytes of $name", ({ value, hex }) => {
    expect(hexOf(encodeValue(value))).toBe(hex);
    expect(decodeValue(fromHex(hex))).toStrictEqual(value);
  });

  it("gives back every value exactly as it was", () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(decodeValue(encodeValue(value))).toStrictEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it("writes what any MessagePack library reads", () => {
    fc.assert(
      fc.property(plainValue, (value) => {
        const read: unknown = foreign.unpack(encodeValue(value));
        expect(decodeValue(encodeValue(read))).toStrictEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it("reads what any MessagePack library writes", () => {
    fc.assert(
      fc.property(plainValue, (value) => {
        expect(decodeValue(foreign.pack(value))).toStrictEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it("keeps numbers and bigints apart", () => {
    expect(decodeValue(encodeValue([5, 5n, 2 ** 40, 2n ** 40n]))).toStrictEqual([
      5,
      5n,
      2 ** 40,
      2n ** 40n,
    ]);
  });

  it("reads a foreign map whose keys are not all strings as a Map", () => {
    expect(decodeValue(fromHex("82a16101" + "02a162"))).toStrictEqual(
      new Map<unknown, unknown>([
        ["a", 1],
        [2, "b"],
      ]),
    );
  });

  it("reads integers wider than needed, and 32-bit floats", () => {
    expect(decodeValue(fromHex("cf0000000000000005"))).toBe(5);
    expect(decodeValue(fromHex("ca3fc00000"))).toBe(1.5);
  });

  it("takes objects of another realm and of no prototype for plain", async () => {
    const { runInNewContext } = await import("node:vm");
    const outside = runInNewContext("({ a: [1], b: { c: 2 } })") as object;
    expect(decodeValue(encodeValue(outside))).toStrictEqual({ a: [1], b: { c: 2 } });
    expect(
      decodeValue(encodeValue(Object.assign(Object.create(null) as object, { a: 1 }))),
    ).toStrictEqual({ a: 1 });
  });

  it("reads holes in arrays as undefined", () => {
    const holey: unknown[] = [1];
    holey[2] = 3;
    expect(decodeValue(encodeValue(holey))).toStrictEqual([1, undefined, 3]);
  });

  it("gives results that share no memory with the input", () => {
    const bytes = Buffer.from(encodeValue([Uint8Array.of(1, 2), Int16Array.of(3)]));
    const [a, b] = decodeValue(bytes) as [Uint8Array, Int16Array];
    bytes.fill(0xee);
    expect([a, b]).toStrictEqual([Uint8Array.of(1, 2), Int16Array.of(3)]);
  });

  it("appends to a shared buffer, and gives back its own memory when asked for bytes", () => {
    const w = new ByteWriter();
    w.byte(1);
    writeValue(w, "ab");
    writeArgs(w, [1, [2]]);
    expect(hexOf(w.take())).toBe("01" + "a26162" + "92019102");
    const first = encodeValue({ a: 1 });
    encodeValue({ b: 2 });
    expect(hexOf(first)).toBe("81a16101");
  });

  it.each([15, 16, 31, 32, 255, 256, 65_535, 65_536])(
    "carries collections of %i, in any library's form",
    (count) => {
      const keyed = Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));
      const value = {
        bytes: new Uint8Array(count).fill(1),
        list: Array.from({ length: count }, () => 1),
        text: "x".repeat(count),
        keyed,
      };
      const bytes = encodeValue(value);
      expect(decodeValue(bytes)).toStrictEqual(value);
      expect(decodeValue(encodeValue(foreign.unpack(bytes)))).toStrictEqual(value);
      const ours = [
        new Set(value.list.keys()),
        new Map(Object.entries(keyed)),
        new Int8Array(count),
        1n << BigInt(Math.min(count, 60_000)),
      ];
      expect(decodeValue(encodeValue(ours))).toStrictEqual(ours);
    },
  );

  it("carries a large value, and does not keep its memory", () => {
    const large = {
      text: "é".repeat(3_000_000),
      list: Array.from({ length: 100_000 }, (_, i) => i),
    };
    expect(decodeValue(encodeValue(large))).toStrictEqual(large);
  });

  it("survives a getter that encodes a value itself", () => {
    const nested = {
      get inner() {
        return hexOf(encodeValue("x"));
      },
    };
    expect(decodeValue(encodeValue([1, nested, 2]))).toStrictEqual([1, { inner: "a178" }, 2]);
  });

  it("encodes and decodes arguments as an array", () => {
    expect(hexOf(encodeArgs([]))).toBe("90");
    expect(decodeArgs(encodeArgs([1, undefined, { a: 1 }]))).toStrictEqual([
      1,
      undefined,
      { a: 1 },
    ]);
    expect(decodeArgs(encodeArgs(Array.from({ length: 70_000 }, () => 0)))).toHaveLength(70_000);
    expect(errorOf(() => decodeArgs(encodeValue("no array"))).code).toBe("malformed-frame");
  });
});

describe("what cannot be sent", () => {
  class Money {
    amount = 1;
  }
  const cycle: Record<string, unknown> = { list: [] };
  (cycle["list"] as unknown[]).push(cycle);
  let deep: unknown = 0;
  for (let i = 0; i <= DEPTH_MAX; i++) deep = [deep];

  it.each([
    ["a function", [{ onDone: () => 1 }], "args[0].onDone is a function"],
    ["a symbol", [[Symbol("x")]], "args[0][0] is a symbol"],
    ["an instance of a class", [1, new Money()], "args[1] is an instance of Money"],
    ["an error", [new RangeError("x")], "args[0] is an error object"],
    ["a promise", [{ "a b": Promise.resolve(1) }], 'args[0]["a b"] is a promise'],
    ["a WeakMap", [new WeakMap()], "args[0] is a WeakMap"],
    ["an invalid Date", [new Date(NaN)], "args[0] is an invalid Date"],
    ["half of a surrogate pair", ["\ud83d"], "args[0] is a string with half of a surrogate pair"],
    ["a function in a Map", [new Map([["k", () => 1]])], 'args[0].get("k") is a function'],
    ["a function as a Map's key", [new Map([[() => 1, 1]])], "args[0].keys()[0] is a function"],
    ["a function in a Set", [new Set([() => 1])], "args[0].values()[0] is a function"],
    [
      "a property named __proto__",
      [JSON.parse('{"__proto__":1}')],
      "args[0].__proto__ is a property named __proto__",
    ],
    ["a cycle", [cycle], "args[0].list[0] is a cycle back to args[0]"],
    [
      "a getter that throws",
      [
        {
          get x() {
            throw new Error("no");
          },
        },
      ],
      "args is an object that throws when it is read (no)",
    ],
    ["a huge bigint", [1n << 70_000n], "args is a bigint of more than 8192 bytes"],
  ])("is refused with its path: %s", (_what, args, message) => {
    const error = errorOf(() => encodeArgs(args as unknown[]));
    expect(error.code).toBe("not-serializable");
    expect(error.message).toContain(message);
  });

  it("is nesting beyond the limit, which is counted in containers", () => {
    expect(errorOf(() => encodeValue(deep)).message).toContain(
      `more than ${DEPTH_MAX} levels deep`,
    );
    const justFits = (deep as unknown[])[0];
    expect(decodeValue(encodeValue(justFits))).toStrictEqual(justFits);
  });

  it("leaves a shared buffer as it was", () => {
    const w = new ByteWriter();
    writeValue(w, "kept");
    expect(() => writeValue(w, { a: "lost", b: () => 1 })).toThrow("value.b is a function");
    expect(hexOf(w.take())).toBe("a46b657074");
  });

  it("is a value that repeats itself without end", () => {
    let shared: unknown = ["x".repeat(100)];
    for (let i = 0; i < 60; i++) shared = [shared, shared];
    expect(["not-serializable", "frame-too-large"]).toContain(
      errorOf(() => encodeValue(shared)).code,
    );
  });
});

describe("hostile bytes", () => {
  it.each([
    ["nothing", ""],
    ["a string longer than the input", "a561"],
    ["an array of 2^32 - 1 items", "ddffffffff"],
    ["a map of 2^32 - 1 entries", "dfffffffff"],
    ["an array of more items than bytes", "dc000300"],
    ["bytes behind the value", "0000"],
    ["the unused byte c1", "c1"],
    ["an unknown extension", "d46300"],
    ["undefined with the wrong byte", "d40001"],
    ["the key __proto__", `81a9${Buffer.from("__proto__").toString("hex")}80`],
    ["a string that is not UTF-8", "a2c328"],
    ["a key that is not UTF-8", "81a2c32801"],
    ["an empty bigint", "c70001"],
    ["part of a Float64", "c7020909"],
    ["an unknown typed array", "d50499ff"],
    ["a typed array without a kind", "c70004"],
    ["a timestamp of 3 bytes", "c703ff000000"],
    ["a timestamp outside the calendar", "c70cff000000007fffffffffffffff"],
    ["nanoseconds beyond a second", "d7ffffffffff00000000"],
    ["a Map that holds an array", "c9000000010290"],
    ["a Map longer than its extension", "c900000002028101"],
    ["a Map shorter than its extension", "c900000003028000" + "00"],
  ])("are refused: %s", (_what, hex) => {
    expect(errorOf(() => decodeValue(fromHex(hex))).code).toBe("malformed-frame");
  });

  it("cannot exhaust the stack", () => {
    expect(errorOf(() => decodeValue(new Uint8Array(100_000).fill(0x91))).code).toBe(
      "malformed-frame",
    );
  });

  it("cannot make millions of objects out of single bytes", () => {
    const bytes = new Uint8Array(2_000_005).fill(0x80);
    bytes.set([0xdd, 0, 0x1e, 0x84, 0x80]); // 2,000,000 empty maps
    expect(errorOf(() => decodeValue(bytes)).message).toContain("containers");
  });

  it("cannot make nested arrays reserve memory they do not fill", () => {
    // 100 arrays, each claiming as many items as there are bytes left
    const bytes = new Uint8Array(1_000_000);
    for (let i = 0; i < 100; i++) bytes.set([0xdd, 0, 0x0e, 0x00, 0x00], i * 5);
    const before = process.memoryUsage().heapUsed;
    expect(errorOf(() => decodeValue(bytes)).code).toBe("malformed-frame");
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
  });

  it("give a value or malformed-frame, whatever they are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const decode of [decodeValue, decodeArgs]) {
          try {
            decode(bytes);
          } catch (e) {
            expect(isPinionError(e, "malformed-frame")).toBe(true);
          }
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it("that were a value once give a value or malformed-frame", () => {
    fc.assert(
      fc.property(
        anyValue,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        (value, flips) => {
          const bytes = new Uint8Array(encodeValue(value));
          for (const [at, byte] of flips) bytes[at % bytes.length] = byte;
          try {
            decodeValue(bytes);
          } catch (e) {
            expect(isPinionError(e, "malformed-frame")).toBe(true);
          }
        },
      ),
      { numRuns: 3_000 },
    );
  });

  it("cut short are never taken for the whole value", () => {
    fc.assert(
      fc.property(anyValue, fc.nat(), (value, cut) => {
        const bytes = encodeValue(value);
        expect(errorOf(() => decodeValue(bytes.subarray(0, cut % bytes.length))).code).toBe(
          "malformed-frame",
        );
      }),
      { numRuns: 1_000 },
    );
  });
});
