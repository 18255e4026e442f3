import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { log, type LogEntry } from "./log.ts";
import { damage, expectCode, expectContained, Turns } from "./structure.test.fixture.ts";

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("append"), bytes: fc.nat(40_000), wait: fc.nat(50) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("value"),
      bytes: fc.nat(300),
      wait: fc.integer({ min: -20, max: 50 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("huge"), bytes: fc.nat(300_000), wait: fc.nat(5) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("cut"), bytes: fc.nat(1000), wait: fc.nat(0) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("turn"), bytes: fc.nat(0), wait: fc.nat(0) }),
  },
);

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** `byteCount` bytes that say which entry they are. */
const content = (number: number, byteCount: number): Uint8Array =>
  new Uint8Array(byteCount).fill(number % 251);

describe("a log", () => {
  it.each([true, false])("is a list that survives its turns (resident: %s)", async (resident) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.array(fc.nat(), { minLength: 4, maxLength: 4 }),
        async (steps, wanted) => {
          const turns = new Turns(log(), resident);
          let model: LogEntry<unknown>[] = [];
          let next = 0;
          let timeMs = 0;
          for (const { kind, bytes, wait } of steps) {
            const { handle } = turns;
            if (kind === "turn") turns.next();
            else if (kind === "cut") {
              const at = next - Math.floor((model.length * bytes) / 1000);
              await handle.truncateBefore(at);
              model = model.filter(({ number }) => number >= at);
            } else {
              const value =
                kind === "value" ? { text: "x".repeat(bytes), next } : content(next, bytes);
              const given = timeMs + wait;
              timeMs = Math.max(timeMs, given);
              expect(await handle.append(value, given)).toBe(next);
              model.push({ number: next++, timeMs, value });
            }
            expect(await turns.handle.length).toBe(model.length);
          }
          await expectSame(turns, model, next, wanted);
          turns.next();
          await expectSame(turns, model, next, wanted);
        },
      ),
      { numRuns: 60 },
    );
  });

  async function expectSame(
    { handle }: Turns<ReturnType<ReturnType<typeof log>["open"]>>,
    model: readonly LogEntry<unknown>[],
    next: number,
    [a, b, c, d]: readonly number[],
  ): Promise<void> {
    expect(await handle.nextNumber).toBe(next);
    expect(await all(handle.entries())).toEqual(model);
    expect(await all(handle.entries({ reverse: true }))).toEqual(model.toReversed());
    const [from, to] = [a! % (next + 2), b! % (next + 2)];
    const limit = c! % 20;
    expect(await all(handle.entries({ from, to, limit }))).toEqual(
      model.filter(({ number }) => number >= from && number < to).slice(0, limit),
    );
    expect(await handle.tail(limit)).toEqual(model.slice(Math.max(0, model.length - limit)));
    const last = (model.at(-1)?.timeMs ?? 0) + 2;
    const [fromMs, toMs] = [c! % last, d! % last];
    const between = model.filter(({ timeMs }) => timeMs >= fromMs && timeMs < toMs);
    expect(await all(handle.range({ fromMs, toMs }))).toEqual(between);
    expect(await all(handle.range({ fromMs, toMs, reverse: true, limit }))).toEqual(
      between.toReversed().slice(0, limit),
    );
    expect(await handle.get(from)).toEqual(model.find(({ number }) => number === from));
    expect(await handle.get(next)).toBeUndefined();
  }

  it("finds its entries in few steps, however many there are", async () => {
    const turns = new Turns(log<Uint8Array>(), true);
    const each = content(7, 6000);
    for (let i = 0; i < 5000; i++) await turns.handle.append(each, i * 10);
    const { handle, extent } = turns;
    let peeks = 0;
    extent.peek = (at, count) => {
      peeks++;
      return MemoryExtent.prototype.peek.call(extent, at, count);
    };
    expect((await handle.get(1234))?.timeMs).toBe(12_340);
    expect(peeks).toBeLessThan(30); // of 500 blocks
    peeks = 0;
    const found = await all(handle.range({ fromMs: 33_331, toMs: 33_341 }));
    expect(found.map(({ number }) => number)).toEqual([3334]);
    expect(peeks).toBeLessThan(90);
  });

  it("uses the room of what was cut off again", async () => {
    const turns = new Turns(log<Uint8Array>(), true);
    for (let i = 0; i < 100; i++) await turns.handle.append(content(i, 10_000));
    const { lengthBytes } = turns.extent;
    for (let i = 100; i < 1000; i++) {
      const handle = i % 7 === 0 ? turns.next() : turns.handle;
      await handle.truncateBefore(i - 50);
      await handle.append(content(i, 10_000));
    }
    expect(Math.ceil(turns.extent.lengthBytes / 65_536)).toBe(Math.ceil(lengthBytes / 65_536));
    const left = await all(turns.handle.entries());
    expect(left.map(({ number }) => number)).toEqual(Array.from({ length: 51 }, (_, i) => 949 + i));
    for (const { number, value } of left) expect(value).toEqual(content(number, 10_000));
  });

  it("goes on while it is read", async () => {
    const { handle } = new Turns(log<number>(), true);
    for (let i = 0; i < 20_000; i++) await handle.append(i);
    const seen: number[] = [];
    for await (const { value } of handle.entries()) {
      seen.push(value);
      if (value === 100) await handle.truncateBefore(15_000);
      if (value === 16_000) await handle.append(-1);
    }
    expect(seen[0]).toBe(0);
    expect(seen.slice(-5000)).toEqual(Array.from({ length: 5000 }, (_, i) => 15_000 + i));
  });

  it("says what it does not take", async () => {
    expect(log({ grow: "1MiB" }).options).toEqual({ growBytes: 2 ** 20, growChosen: true });
    await expectCode(() => log({ grow: "1 MiBs" }), "config-invalid");
    const turns = new Turns(log(), true);
    await expectCode(() => turns.handle.append(1, NaN), "invalid-argument");
    await expectCode(() => turns.handle.append(() => 1), "not-serializable");
    expect(turns.extent.lengthBytes).toBe(0);
    await turns.handle.append("x");
    await expectCode(() => turns.handle.truncateBefore(2), "invalid-argument");
    const extent = new MemoryExtent({ bytes: turns.extent.bytes, readonly: true });
    const handle = turns.definition.open(extent);
    await expectCode(() => handle.append(1), "readonly-violation");
    await expectCode(() => handle.truncateBefore(1), "readonly-violation");
    expect(await all(handle.entries())).toEqual([{ number: 0, timeMs: 0, value: "x" }]);
    extent.end();
    await expectCode(() => handle.get(0), "view-expired");
  });

  it("says so when a write was not awaited", async () => {
    const turns = new Turns(log(), false);
    await turns.handle.append(1);
    const pending = turns.handle.append(2);
    await expectCode(() => turns.handle.append(3), "invalid-argument");
    await pending;
    expect((await turns.handle.tail(9)).map(({ value }) => value)).toEqual([1, 2]);
  });

  it("meets wrong bytes with an answer or a typed error", async () => {
    const turns = new Turns(log(), true);
    for (let i = 0; i < 60; i++) {
      await turns.handle.append(content(i, 9000), i);
      await turns.handle.append({ i, text: "some text" }, i);
    }
    await turns.handle.append(content(1, 200_000), 60);
    await turns.handle.truncateBefore(40);
    await turns.handle.append(content(1, 100), 60);
    const { bytes } = turns.extent;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.nat(),
        fc.nat(),
        fc.nat(20),
        async (how, where, what, block) => {
          // Half of the time in the header of a block.
          const at = where % 2 === 0 ? where : block * 65_536 + (where % 256);
          const { handle } = new Turns(turns.definition, true, damage(bytes, how, at, what));
          for (const run of [
            () => handle.tail(10),
            () => all(handle.entries({ limit: 1000 })),
            () => all(handle.entries({ reverse: true, limit: 1000 })),
            () => all(handle.range({ fromMs: 20, toMs: 40 })),
            () => handle.get(70),
            () => handle.append(content(2, 150_000)),
            () => handle.truncateBefore(100),
            () => handle.append(content(2, 150_000)),
            () => handle.tail(10),
          ]) {
            await expectContained(run, ["invalid-argument"]);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("keeps its bytes: the format is frozen", async () => {
    const turns = new Turns(log(), true);
    await turns.handle.append("hi", 1000);
    await turns.handle.append(Uint8Array.of(1, 2, 3), 2000);
    const hex = Buffer.from(turns.extent.bytes).toString("hex");
    expect(hex).toBe(GOLDEN);
    for (let i = 0; i < 100; i++) await turns.handle.append(content(i, 5000), 2000 + i);
    await turns.handle.truncateBefore(50);
    await turns.handle.append(content(1, 100_000));
    const digest = await crypto.subtle.digest("SHA-256", turns.extent.bytes);
    expect(Buffer.from(digest).toString("hex")).toBe(GOLDEN_HASH);
    const { bytes } = turns.extent;
    bytes[6] = 2;
    await expectCode(
      () => turns.definition.open(new MemoryExtent({ bytes })).length,
      "format-too-new",
    );
  });
});

const GOLDEN = [
  "504e535402000100", // log, version 1
  "0000000000000000", // first entry
  "0200000000000000", // next entry
  "0000000000409f40", // last time
  "0000000000000000", // first block
  "0000000000000000", // last block
  "0000000000000000", // their slots
  "1e01000000000000", // used bytes, free slots
  "00".repeat(24), // block 0, first entry 0, time before
  "0001000000000000", // first at, next
  "00".repeat(160),
  "030000000000000000408f40a26869",
  "030000800000000000409f40010203",
].join("");
const GOLDEN_HASH = "79163976ca5ab657ae95b03d9e8e1a73ed4242afde8081a48d70fafa4648ded3";
