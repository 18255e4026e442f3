import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  actorHash,
  actorId,
  ACTOR_ID_BYTES_MAX,
  formatActorId,
  parseActorId,
  shardOf,
} from "./actor-id.ts";
import { isPinionError } from "./errors.ts";

const codeOf = (fn: () => unknown): string | undefined => {
  try {
    fn();
    return undefined;
  } catch (e) {
    return isPinionError(e) ? e.code : String(e);
  }
};

describe("actor ids", () => {
  // Golden vectors: both are in logs, stores and clients. They never change.
  it("have a frozen text form", () => {
    const id = (type: string, key: string, ns?: string, branch?: string) =>
      formatActorId(actorId(type, key, ns, branch));
    expect(id("counter", "visits")).toBe("counter/visits");
    expect(id("counter", "a/b:c@d")).toBe("counter/a/b:c@d");
    expect(id("counter", "50 %\u00a0é")).toBe("counter/50%20%25%C2%A0é");
    expect(id("Route.v2", "JFK-LAX", "prod")).toBe("prod:Route.v2/JFK-LAX");
    expect(id("counter", "visits", "prod", "what-if")).toBe("prod@what-if:counter/visits");
    expect(id("counter", "visits", undefined, "x")).toBe("default@x:counter/visits");
  });

  // computed with a reference implementation of MurmurHash3 x86_32
  it("have a frozen hash and shard", () => {
    expect(actorHash("counter", "visits")).toBe(0xeff5dde9);
    expect(actorHash("counter", "é")).toBe(0xff66422d);
    expect([1, 2, 3, 4, 5, 6].map((n) => shardOf("airport", "JFKLAXORD".slice(0, n), 16))).toEqual([
      10, 12, 14, 8, 5, 7,
    ]);
    expect(shardOf("counter", "visits", 256)).toBe(Math.floor((0xeff5dde9 * 256) / 2 ** 32));
  });

  it("print and parse alike (property)", () => {
    const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.-]{0,20}$/);
    const key = fc.string({ unit: "binary", minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(name, key, name, name, (type, k, ns, branch) => {
        let id;
        try {
          id = actorId(type, k, ns, branch);
        } catch (e) {
          expect(isPinionError(e, "invalid-actor-id")).toBe(true);
          return;
        }
        const text = formatActorId(id);
        expect(/\s/.test(text)).toBe(false);
        expect(parseActorId(text)).toEqual(id);
      }),
    );
  });

  it("refuse control characters, lone surrogates, bad names and more than 512 bytes", () => {
    for (const key of ["", "a\nb", "\u007f", "\u0085", "a\ud800b"])
      expect(codeOf(() => actorId("t", key))).toBe("invalid-actor-id");
    for (const type of ["", "1a", "a b", "a/b", "a:b", "x".repeat(65)])
      expect(codeOf(() => actorId(type, "k"))).toBe("invalid-actor-id");
    expect(codeOf(() => actorId("t", "x".repeat(ACTOR_ID_BYTES_MAX - 2)))).toBeUndefined();
    expect(codeOf(() => actorId("t", "x".repeat(ACTOR_ID_BYTES_MAX - 1)))).toBe("invalid-actor-id");
    expect(codeOf(() => actorId("t", "é".repeat(256)))).toBe("invalid-actor-id");
    for (const text of ["counter", "/x", "a/", "n@:a/b", "a/%ff"])
      expect(codeOf(() => parseActorId(text))).toBe("invalid-actor-id");
  });

  it("spread evenly over shards", () => {
    const counts = new Array<number>(16).fill(0);
    for (let i = 0; i < 16_000; i++)
      counts[shardOf("user", `u${i}`, 16)] = (counts[shardOf("user", `u${i}`, 16)] as number) + 1;
    for (const n of counts) expect(Math.abs(n - 1000)).toBeLessThan(150);
  });

  it("hash type and key alone: all namespaces and branches of an actor share a shard", () => {
    const a = actorId("t", "k", "n1", "b1");
    const b = actorId("t", "k", "n2", "b2");
    expect(shardOf(a.type, a.key, 256)).toBe(shardOf(b.type, b.key, 256));
  });
});
