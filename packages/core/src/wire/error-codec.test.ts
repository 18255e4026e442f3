import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ERROR_CODES, isPinionError, PinionError, type PinionErrorOptions } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import {
  decodeError,
  encodeError,
  ERROR_CAUSES_MAX,
  ERROR_MESSAGE_LENGTH_MAX,
  ERROR_STACK_LENGTH_MAX,
} from "./error-codec.ts";
import { writeText, writeUint } from "./proto-writer.ts";

const roundTrip = (thrown: unknown): PinionError => decodeError(encodeError(thrown));

class OutOfFunds extends Error {
  readonly balance = 5;
}

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

describe("errors as bytes", () => {
  it("keep code, message, advice, details, stack and cause", () => {
    const cause = new PinionError("io-error", "disk", { details: { errno: "EIO" } });
    const error = new PinionError("overloaded", "full", {
      details: { limit: 5, names: ["a", "b"], none: null, on: true },
      retryAfterMs: 20,
      cause,
    });
    const read = roundTrip(error);
    expect(read).toMatchObject({
      code: "overloaded",
      message: "full",
      retry: "backoff",
      retryAfterMs: 20,
      details: { limit: 5, names: ["a", "b"], none: null, on: true },
      remoteStack: error.stack,
      cause: { code: "io-error", message: "disk", details: { errno: "EIO" } },
    });
  });

  it("keep every code and every advice", () => {
    const any = fc.record({
      code: fc.constantFrom(...ERROR_CODES),
      retry: fc.constantFrom("never", "backoff", "relocate"),
      message: fc.string({ unit: "grapheme" }),
      retryAfterMs: fc.option(fc.nat(), { nil: undefined }),
      details: fc.dictionary(
        fc.string({ unit: "grapheme", minLength: 1 }).filter((key) => key !== "__proto__"),
        fc.oneof(
          fc.string({ unit: "grapheme" }),
          fc.integer(),
          fc.boolean(),
          fc.constant(null),
          fc.array(fc.integer()),
        ),
        { noNullPrototype: true },
      ),
    });
    fc.assert(
      fc.property(any, ({ code, message, retry, retryAfterMs, details }) => {
        const options = {
          retry,
          details,
          ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
        } as PinionErrorOptions;
        const read = roundTrip(new PinionError(code, message, options));
        expect([read.code, read.message, read.retry, read.retryAfterMs]).toEqual([
          code,
          message,
          retry,
          retryAfterMs,
        ]);
        expect(read.details).toEqual(details);
      }),
    );
  });

  it("call a user's error actor-error, with its class, own properties and cause", () => {
    const read = roundTrip(new OutOfFunds("no money", { cause: new RangeError("inner") }));
    expect(read).toMatchObject({
      code: "actor-error",
      retry: "never",
      message: "no money",
      userName: "OutOfFunds",
      details: { balance: 5 },
      cause: { code: "actor-error", userName: "RangeError", message: "inner" },
    });
    expect(read.remoteStack).toContain("error-codec.test.ts");
  });

  it("take a user error's details where it has them, nested objects as JSON text", () => {
    const error = Object.assign(new Error("x"), {
      details: { a: 1n, nested: { b: 2 }, f: () => 1 },
      other: 1,
    });
    expect(roundTrip(error).details).toEqual({ a: "1", nested: '{"b":2}' });
  });

  it.each([
    ["a text", "plain", "plain", "string"],
    ["nothing", undefined, "undefined", "undefined"],
    ["null", null, "null", "object"],
    ["an object", { a: 1 }, '{"a":1}', "object"],
    ["a symbol", Symbol("s"), "Symbol(s)", "symbol"],
    ["a revoked proxy", revokedProxy(), "(unreadable)", "object"],
  ])("carry %s that was thrown", (_what, thrown, message, userName) => {
    expect(roundTrip(thrown)).toMatchObject({ code: "actor-error", message, userName });
  });

  it("survive an object whose every trap throws", () => {
    const fail = (): never => {
      throw new Error("trap");
    };
    const hostile = new Proxy({}, { get: fail, ownKeys: fail, getPrototypeOf: fail, has: fail });
    expect(roundTrip(hostile)).toMatchObject({ code: "actor-error", message: "(unreadable)" });
    const getters = Object.defineProperties(new Error("x"), {
      message: { get: fail },
      stack: { get: fail },
      cause: { get: fail },
    });
    expect(roundTrip(getters)).toMatchObject({ code: "actor-error", message: "(unreadable)" });
  });

  it("are bounded, and say what was cut", () => {
    const details = Object.fromEntries(
      Array.from({ length: 100 }, (_, i) => [`k${i}`, "v".repeat(1000)]),
    );
    const error = new PinionError("internal", "m".repeat(1_000_000), { details });
    Object.defineProperty(error, "stack", { value: "s".repeat(1_000_000) });
    const bytes = encodeError(error);
    expect(bytes.length).toBeLessThan(32 * 1024);
    const read = decodeError(bytes);
    expect(read.message).toBe(`${"m".repeat(ERROR_MESSAGE_LENGTH_MAX)}…`);
    expect(read.remoteStack).toHaveLength(ERROR_STACK_LENGTH_MAX + 1);
    expect(read.details).toMatchObject({ k0: "v".repeat(1000), detailsOmitted: 92 });
  });

  it("follow causes to a bound, even in a circle", () => {
    const error: Error & { cause?: unknown } = new Error("round");
    error.cause = error;
    let depth = 0;
    for (let e: unknown = roundTrip(error); e instanceof PinionError; e = e.cause) depth++;
    expect(depth).toBe(1 + ERROR_CAUSES_MAX);
  });

  it("keep the first stack when they cross a second time", () => {
    const error = new PinionError("internal", "x", { remoteStack: "far away" });
    expect(roundTrip(error).remoteStack).toMatch(/^far away\n {4}--- received by ---\n/);
  });

  it("leave stacks out, and advise never, when told so", () => {
    const bytes = encodeError(new PinionError("unavailable", "x"), {
      omitStack: true,
      final: true,
    });
    expect(decodeError(bytes)).toMatchObject({ retry: "never", remoteStack: undefined });
  });

  it("mark a code of a newer version, and keep its advice", () => {
    const w = new ByteWriter();
    writeUint(w, (1 << 3) | 0, 999);
    writeText(w, (2 << 3) | 2, "tired");
    writeUint(w, (4 << 3) | 0, 1);
    expect(decodeError(w.take())).toMatchObject({
      code: "internal",
      retry: "backoff",
      details: { unknownCode: "tired" },
    });
  });

  it("understand the number alone", () => {
    const w = new ByteWriter();
    writeUint(w, (1 << 3) | 0, ERROR_CODES.indexOf("cycle") + 1);
    expect(decodeError(w.take()).code).toBe("cycle");
  });

  it("have numbers that never change", () => {
    const hex = Buffer.from(
      encodeError(new PinionError("overloaded", "full", { retryAfterMs: 20 }), { omitStack: true }),
    ).toString("hex");
    expect(hex).toBe("0818120a6f7665726c6f616465641a0466756c6c20012814");
  });

  it("are read from any bytes, or refused as malformed", () => {
    const valid = encodeError(new OutOfFunds("x", { cause: new Error("y") }));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { maxLength: 5 }),
        (flips) => {
          const bytes = new Uint8Array(valid);
          for (const [at, byte] of flips) bytes[at] = byte;
          try {
            decodeError(bytes);
          } catch (e) {
            expect(isPinionError(e, "malformed-frame")).toBe(true);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
