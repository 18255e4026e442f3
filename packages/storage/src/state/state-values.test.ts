/** The encodings on disk. A change that breaks a vector here breaks every existing data directory: add a version instead. */
import { isPinionError, lsn, seededRng, shardId } from "@pinion/core";
import { crc32c } from "@node-rs/crc32";
import { describe, expect, it } from "vitest";
import * as keys from "./state-keys.ts";
import * as values from "./state-values.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const KEY = keys.actorKeyBytes(shardId(5), "counter/visits");
const REMINDERS = [
  { name: "wake", dueMs: 978_307_200_000, body: Uint8Array.of(1, 2, 3) },
  { name: "größer", dueMs: 0.5, body: new Uint8Array(0) },
];

const EXTENTS = [
  {
    name: "delays",
    kind: "column",
    version: 2,
    lengthBytes: 2 ** 33,
    volume: 17,
    facts: Uint8Array.of(1, 1, 0),
  },
  { name: "a", kind: "map", version: 1, lengthBytes: 0, volume: 16, facts: new Uint8Array(0) },
];

describe("keys of the state store", () => {
  it("are frozen", () => {
    expect(hex(KEY)).toBe("0005636f756e7465722f766973697473");
    expect(hex(keys.shardKey(shardId(258)))).toBe("73686172640102");
    expect(hex(keys.factKey(shardId(1), "dedupe/7"))).toBe("00016465647570652f37");
    expect(hex(keys.dueKey(shardId(2), { dueMs: 1_000, actor: "a/b", name: "n" }))).toBe(
      "0002408f400000000000612f62006e",
    );
  });

  it("have the order of due times, and give back what they were made of", () => {
    const times = [0, 0.25, 1, 2, 255, 256, 65_536, 978_307_200_000, 978_307_200_000.5, 2 ** 53];
    const made = times.map((dueMs) =>
      keys.dueKey(shardId(1), { dueMs, actor: "a/ü", name: "näme" }),
    );
    expect(made.toSorted((a, b) => Buffer.compare(a, b))).toEqual(made);
    expect(made.map((key) => keys.parseDueKey(key).dueMs)).toEqual(times);
    expect(keys.parseDueKey(made[3] as Uint8Array)).toEqual({
      dueMs: 2,
      actor: "a/ü",
      name: "näme",
    });
  });

  it("bound a scan by prefix and position", () => {
    const shard = shardId(3);
    expect(hex(keys.firstKey(shard, "ab"))).toBe("00036162");
    expect(hex(keys.firstKey(shard, "ab", "aa"))).toBe("00036162");
    expect(hex(keys.firstKey(shard, "ab", "abc"))).toBe("000361626300");
    expect(hex(keys.endKey(shard, "ab") as Uint8Array)).toBe("00036163");
    expect(hex(keys.endKey(shard, "") as Uint8Array)).toBe("0004");
    expect(keys.endKey(shardId(65_535), "")).toBeUndefined();
  });

  it.each([
    ["an empty actor key", () => keys.actorKeyBytes(shardId(0), "")],
    ["a NUL", () => keys.actorKeyBytes(shardId(0), "a/\0")],
    ["an actor key of 1,025 bytes", () => keys.actorKeyBytes(shardId(0), "a/".padEnd(1_025, "x"))],
    ["a shard beyond the last", () => keys.shardKey(shardId(65_536))],
    ["a negative due time", () => keys.dueTimeKey(shardId(0), -1)],
    ["a due time that is no number", () => keys.dueTimeKey(shardId(0), NaN)],
    [
      "a reminder name of 513 bytes",
      () => keys.dueKey(shardId(0), { dueMs: 1, actor: "a/b", name: "n".repeat(513) }),
    ],
  ])("refuse %s", (_, make) => {
    expect(make).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  });
});

describe("values of the state store", () => {
  const actor = { lsn: lsn(77), stateVersion: 3, state: Uint8Array.of(9, 8, 7) };
  const encoded: [string, string, Uint8Array, (value: Uint8Array) => unknown][] = [
    [
      "an actor",
      "8d65437a010100004d000000000000000300000003000000090807",
      values.encodeActor(KEY, actor),
      (value) => values.decodeActor(KEY, value),
    ],
    [
      "an actor without a state",
      "42da3348010000004d000000000000000300000000000000",
      values.encodeActor(KEY, { ...actor, state: undefined }),
      (value) => values.decodeActor(KEY, value),
    ],
    [
      "an actor with a large state",
      "163a00e2010300004d0000000000000003000000d0070000",
      values.encodeActor(KEY, { ...actor, state: new Uint8Array(2_000) }),
      (value) => values.decodeActor(KEY, value),
    ],
    [
      "a blob",
      "c3e6c2ef010000000102",
      values.encodeBlob(KEY, Uint8Array.of(1, 2)),
      (value) => values.decodeBlob(KEY, value),
    ],
    [
      "an applied LSN",
      "0f82378f01000000ffffffffffff1f00",
      values.encodeAppliedLsn(KEY, lsn(2 ** 53 - 1)),
      (value) => values.decodeAppliedLsn(KEY, value),
    ],
    [
      "a format",
      "38f9ec1d0100000001000000",
      values.encodeFormat(keys.FORMAT_KEY, 1),
      (value) => values.decodeFormat(keys.FORMAT_KEY, value),
    ],
    [
      "extras",
      "af4131eb0101000002000000000080e6f4786c4203000000040077616b65010203000000000000e03f0000000008006772c3b6c39f6572",
      values.encodeExtras(KEY, { hasLarge: true, reminders: REMINDERS }),
      (value) => values.decodeExtras(KEY, value),
    ],
    [
      "extents",
      "7ef01067010100000200110000000000000000000042020006636f6c756d6e0664656c61797303000101001000000000000000000000000100036d617001610000",
      values.encodeExtents(KEY, EXTENTS),
      (value) => values.decodeExtents(KEY, value),
    ],
  ];

  it.each(encoded)("are frozen: %s", (_, vector, value) => {
    expect(hex(value)).toBe(vector);
  });

  it("are read back as they were", () => {
    const [one, none, large, blob, applied, format, extras, extents] = encoded.map(
      ([, , value, decode]) => decode(value),
    );
    expect(one).toEqual({
      lsn: 77,
      stateVersion: 3,
      stateBytes: 3,
      state: Uint8Array.of(9, 8, 7),
      isLarge: false,
    });
    expect(none).toEqual({
      lsn: 77,
      stateVersion: 3,
      stateBytes: 0,
      state: undefined,
      isLarge: false,
    });
    expect(large).toEqual({
      lsn: 77,
      stateVersion: 3,
      stateBytes: 2_000,
      state: undefined,
      isLarge: true,
    });
    expect(blob).toEqual(Uint8Array.of(1, 2));
    expect(applied).toBe(2 ** 53 - 1);
    expect(format).toBe(1);
    expect(extras).toEqual({ hasLarge: true, reminders: REMINDERS });
    expect(extents).toEqual(EXTENTS);
  });

  it("are refused with any bit flipped, cut short anywhere, extended, or under another key", () => {
    const other = Buffer.from(KEY).fill(0x61, 2, 3);
    for (const [what, , value, decode] of encoded) {
      const attempt = (bytes: Uint8Array): unknown => {
        try {
          return values.decoding(what, {}, () => decode(bytes));
        } catch (e) {
          return isPinionError(e) ? e.code : e;
        }
      };
      for (let bit = 0; bit < value.length * 8; bit++) {
        const flipped = value.slice();
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(attempt(flipped)).toBe("corruption");
      }
      for (let length = 0; length < value.length; length++)
        expect(attempt(value.slice(0, length))).toBe("corruption");
      expect(attempt(Buffer.concat([value, Buffer.alloc(1)]))).toBe("corruption");
    }
    expect(() => values.decodeActor(other, values.encodeActor(KEY, actor))).toThrow("checksum");
  });

  it("are refused where extents are from before they had facts", () => {
    const value = Buffer.from(values.encodeExtents(KEY, []));
    value[5] = 0;
    const resealed = resealedBy(value);
    expect(() => values.decoding("x", {}, () => values.decodeExtents(KEY, resealed))).toThrow(
      expect.objectContaining({ code: "corruption" }),
    );
  });

  it("are refused by a version that is too old for them", () => {
    const value = Buffer.from(values.encodeBlob(KEY, Uint8Array.of(1)));
    value[4] = 2;
    const resealed = resealedBy(value);
    expect(() => values.decoding("x", {}, () => values.decodeBlob(KEY, resealed))).toThrow(
      expect.objectContaining({ code: "format-too-new" }),
    );
  });

  it("never end the process, whatever the bytes under a matching checksum", () => {
    const rng = seededRng(11);
    for (let i = 0; i < 3_000; i++) {
      const bytes = Buffer.from(
        Uint8Array.from({ length: rng.below(60) + 8 }, () => rng.below(256)),
      );
      bytes[4] = 1;
      const resealed = resealedBy(bytes);
      for (const decode of [
        values.decodeActor,
        values.decodeExtras,
        values.decodeBlob,
        values.decodeAppliedLsn,
      ]) {
        try {
          values.decoding("x", {}, () => decode(KEY, resealed));
        } catch (e) {
          expect(isPinionError(e, "corruption")).toBe(true);
        }
      }
    }
  });
});

/** Independent of the encoder: the checksum as the table in state-values.ts says. */
function resealedBy(bytes: Buffer): Uint8Array {
  bytes.writeUInt32LE(crc32c(bytes.subarray(4), crc32c(KEY)));
  return bytes;
}
