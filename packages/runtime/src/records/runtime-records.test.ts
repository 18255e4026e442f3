import { isPinionError, lsn, NO_LSN } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "./byte-codec.ts";
import {
  OutboxKind,
  readCommit,
  readDone,
  readOpen,
  writeCommit,
  writeDone,
  writeOpen,
  type CommitRecord,
  type OpenRecord,
} from "./runtime-records.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const encode = (write: (w: ByteWriter) => void): string => {
  const w = new ByteWriter();
  write(w);
  return Buffer.from(w.view()).toString("hex");
};

const commit: CommitRecord = {
  actor: "counter/visits",
  call: { session: "s1", seq: 300, path: "0.2" },
  digest: 0xdeadbeef,
  ackedBelow: 290,
  idempotency: { key: "k", expiresMs: 1_800_000_000_000 },
  stateVersion: 2,
  delta: bytes("0102"),
  whole: true,
  ok: true,
  outcome: bytes("03"),
  closes: lsn(77),
  outbox: [
    {
      ordinal: 4,
      kind: OutboxKind.send,
      target: "route/A-B",
      method: "record",
      args: bytes("9105"),
    },
  ],
  reminders: [
    { op: "set", name: "bill", dueMs: 1_800_000_000_123, body: bytes("c0") },
    { op: "cancel", name: "old" },
  ],
  extents: undefined,
  partial: false,
};
const open: OpenRecord = {
  actor: "counter/visits",
  call: { session: "s1", seq: 2 ** 40, path: "" },
  digest: 1,
  idempotency: undefined,
  method: "increment",
  args: bytes("9103"),
  attempt: 2,
  nowMs: 1_800_000_000_000,
  seed: 0xffffffff,
  issuedAt: 1_800_000_000_000_000,
  chain: ["a/b", "c/d é"],
};

describe("runtime records", () => {
  // Golden vectors: a change here is a change of the format on disk and needs a new version byte.
  it("have a frozen format", () => {
    expect(encode((w) => writeCommit(w, commit))).toMatchInlineSnapshot(
      `"01ff030e636f756e7465722f766973697473027331ac0203302e32efbeaddea202016b80a0f1c2b1340202010201034d01040009726f7574652f412d42067265636f726402910502010462696c6cfba0f1c2b13401c000036f6c64"`,
    );
    expect(encode((w) => writeOpen(w, open))).toMatchInlineSnapshot(
      `"010e636f756e7465722f7669736974730273318080808080200001000000000009696e6372656d656e740291030280a0f1c2b134ffffffff0f8080e2c4f2a299030203612f6206632f6420c3a9"`,
    );
    expect(
      encode((w) => writeDone(w, [{ call: { session: "s1", seq: 1, path: "3" }, ordinal: 130 }])),
    ).toMatchInlineSnapshot(`"01010273310101338201"`);
  });

  it("read back what was written", () => {
    const plain: CommitRecord = {
      ...commit,
      call: undefined,
      digest: 0,
      ackedBelow: 0,
      idempotency: undefined,
      delta: undefined,
      stateVersion: 0,
      whole: false,
      outcome: undefined,
      ok: false,
      closes: NO_LSN,
      outbox: [],
      reminders: [],
      extents: undefined,
      partial: true,
    };
    for (const c of [commit, plain])
      expect(readCommit(bytes(encode((w) => writeCommit(w, c))))).toEqual(c);
    expect(readOpen(bytes(encode((w) => writeOpen(w, open))))).toEqual(open);
    const done = [{ call: { session: "", seq: 0, path: "1.2.3" }, ordinal: 0 }];
    expect(readDone(bytes(encode((w) => writeDone(w, done))))).toEqual(done);
  });

  it("answer any damage with a typed error (fuzz)", () => {
    const good = [encode((w) => writeCommit(w, commit)), encode((w) => writeOpen(w, open))].map(
      bytes,
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...good),
        fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 4 }),
        fc.nat(400),
        (from, flips, cut) => {
          const damaged = from.slice(0, Math.max(0, from.length - (cut % from.length)));
          for (const [at, value] of flips) if (at < damaged.length) damaged[at] = value;
          for (const read of [readCommit, readOpen, readDone]) {
            try {
              read(damaged);
            } catch (e) {
              if (!isPinionError(e, "corruption")) throw e;
            }
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
