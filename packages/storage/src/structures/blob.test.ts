import { seededRng } from "@pinion/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import { blob, type BlobHandle } from "./blob.ts";
import { damage, expectCode, expectContained, Turns } from "./structure.test.fixture.ts";

const rng = seededRng(9);
/** What blobs are cut from: those that overlap share chunks. */
const POOL = new Uint8Array(1_200_000).map(() => rng.below(256));

async function contentOf(handle: BlobHandle, name: string): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of handle.get(name)) parts.push(part);
  return Buffer.concat(parts);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function* inParts(bytes: Uint8Array, partBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += partBytes) yield bytes.subarray(at, at + partBytes);
}

/** Short ones, long ones and empty ones, some under the same names. */
function manyFrom(name: string, from: number, bytes: number): [string, Uint8Array][] {
  return Array.from({ length: from % 40 }, (_, i) => {
    const length = i % 7 === 3 ? 0 : i % 9 === 4 ? bytes : (bytes * (i + 1)) % 9_000;
    const start = (from + 37 * i) % 600_000;
    return [
      i % 5 === 0 ? name : `${name.slice(0, 20)} ${i % 11}`,
      POOL.subarray(start, start + length),
    ];
  });
}

const step = fc.record({
  kind: fc.constantFrom(
    "put",
    "put",
    "many",
    "stream",
    "upload",
    "upload",
    "finish",
    "delete",
    "turn",
    "reclaim",
    "abandon",
  ),
  name: fc.constantFrom("a", "b", "ü/é", "x".repeat(1024)),
  from: fc.nat(600_000),
  bytes: fc.oneof(fc.nat(3000), fc.nat(500_000)),
});

describe("a blob store", () => {
  it.each([true, false])(
    "is a map of bytes that survives its turns (resident: %s)",
    async (resident) => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          const turns = new Turns(blob(), resident);
          const model = new Map<string, Uint8Array>();
          const begun = new Map<string, Uint8Array>();
          for (const { kind, name, from, bytes } of steps) {
            const { handle } = turns;
            const content = POOL.subarray(from, from + bytes);
            if (kind === "put") {
              await handle.put(name, content);
              model.set(name, content);
            } else if (kind === "many") {
              const blobs = manyFrom(name, from, bytes);
              await handle.putAll(blobs);
              for (const [of, its] of blobs) model.set(of, its);
            } else if (kind === "stream") {
              await handle.put(name, inParts(content, 1 + (from % 90_000)));
              model.set(name, content);
            } else if (kind === "delete") {
              expect(await handle.delete(name)).toBe(model.delete(name));
            } else if (kind === "upload") {
              const writer = begun.has(name) ? await handle.resume(name) : await handle.begin(name);
              expect(writer.byteCount).toBe(begun.get(name)?.length ?? 0);
              await writer.write(content);
              await writer.pause();
              begun.set(name, Buffer.concat([begun.get(name) ?? new Uint8Array(), content]));
            } else if (kind === "finish" && begun.has(name)) {
              await (await handle.resume(name)).finish();
              model.set(name, begun.get(name)!);
              begun.delete(name);
            } else if (kind === "abandon" && begun.delete(name)) {
              await (await handle.resume(name)).abandon();
            } else if (kind === "reclaim") await handle.reclaim();
            else if (kind === "turn") turns.next();
          }
          await expectSame(turns.handle, model, begun);
          await expectSame(turns.next(), model, begun);
          // Without blobs there are no chunks; all room is free or an index.
          for (const name of model.keys()) await turns.handle.delete(name);
          for (const name of begun.keys()) await (await turns.handle.resume(name)).abandon();
          expect(await turns.handle.reclaim(1e6)).toBe(true);
          const { freeBytes, extentBytes, ...rest } = await turns.handle.stats();
          expect(rest).toEqual({ blobs: 0, blobBytes: 0, chunks: 0, chunkBytes: 0 });
          // Behind the header there is nothing that is not free, but for branches of the index.
          if (extentBytes > 0) expect(extentBytes - freeBytes).toBeLessThan(896 + 4 * 160);
        }),
        { numRuns: 40 },
      );
    },
  );

  async function expectSame(
    handle: BlobHandle,
    model: ReadonlyMap<string, Uint8Array>,
    begun: ReadonlyMap<string, Uint8Array>,
  ): Promise<void> {
    const infos = (blobs: ReadonlyMap<string, Uint8Array>) =>
      [...blobs].map(([name, { length }]) => ({ name, byteCount: length }));
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    expect((await all(handle.list())).toSorted(byName)).toEqual(infos(model).toSorted(byName));
    expect((await all(handle.unfinished())).toSorted(byName)).toEqual(
      infos(begun).toSorted(byName),
    );
    for (const [name, content] of model) {
      expect(await handle.stat(name)).toEqual({ name, byteCount: content.length });
      expect((await contentOf(handle, name)).equals(content)).toBe(true);
    }
    expect(await handle.stat("nobody")).toBeUndefined();
    const { blobs, blobBytes } = await handle.stats();
    expect({ blobs, blobBytes }).toEqual({
      blobs: model.size,
      blobBytes: [...model.values()].reduce((sum, { length }) => sum + length, 0),
    });
  }

  it("stores what repeats once", async () => {
    const { handle, extent } = new Turns(blob(), true);
    await handle.put("one", POOL);
    const { chunks, chunkBytes } = await handle.stats();
    expect(chunkBytes).toBe(POOL.length);
    const changed = Buffer.concat([Buffer.from("a few bytes"), POOL]);
    await handle.put("two", changed);
    const after = await handle.stats();
    expect(after.chunks - chunks).toBeLessThanOrEqual(3);
    expect(after.blobBytes).toBe(2 * POOL.length + 11);
    expect(extent.lengthBytes).toBeLessThan(POOL.length * 1.08);
    expect((await contentOf(handle, "two")).equals(changed)).toBe(true);
  });

  it("stores those before one that cannot be", async () => {
    const turns = new Turns(blob(), true);
    await turns.handle.put("b", POOL.subarray(0, 100));
    const blobs = [
      ["a", POOL.subarray(0, 5)],
      ["b", POOL.subarray(0, 30_000)],
      ["", POOL],
      ["c", POOL],
    ] as const;
    await expectCode(() => turns.handle.putAll(blobs), "invalid-argument");
    const source = function* () {
      yield ["d", POOL.subarray(0, 9)] as const;
      throw new RangeError("no more");
    };
    await expect(turns.handle.putAll(source())).rejects.toThrow(RangeError);
    const found = await all(turns.next().list());
    const byName = new Map(found.map(({ name, byteCount }) => [name, byteCount]));
    expect(byName).toEqual(
      new Map([
        ["a", 5],
        ["b", 30_000],
        ["d", 9],
      ]),
    );
    expect((await contentOf(turns.handle, "b")).equals(POOL.subarray(0, 30_000))).toBe(true);
  });

  it("keeps nothing of one whose bytes are taken away", async () => {
    const turns = new Turns(blob(), false);
    const content = Buffer.concat([POOL, POOL.map((byte) => byte ^ 1)]);
    const bytes = new Uint8Array(content);
    const putting = turns.handle.putAll([
      ["a", POOL.subarray(0, 5_000)],
      ["b", bytes],
    ]);
    await Promise.resolve();
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    await expectCode(() => putting, "invalid-argument");
    const handle = turns.next();
    expect(await handle.reclaim(1e6)).toBe(true);
    expect(await handle.stats()).toMatchObject({ blobs: 1, chunks: 1, chunkBytes: 5_000 });
    expect((await contentOf(handle, "a")).equals(POOL.subarray(0, 5_000))).toBe(true);
  });

  it("uses the room of deleted blobs again", async () => {
    const turns = new Turns(blob(), true);
    let most = 0;
    for (let round = 0; round < 12; round++) {
      const handle = turns.next();
      const content = POOL.map((byte) => byte ^ (round + 1));
      await handle.put("same name", content);
      expect((await contentOf(handle, "same name")).equals(content)).toBe(true);
      expect(await handle.reclaim()).toBe(true);
      if (round === 2) most = turns.extent.lengthBytes;
    }
    // Not every length comes again, so a little is added; not a blob's worth in nine rounds.
    expect(turns.extent.lengthBytes).toBeLessThan(most * 1.25);
  });

  it("holds many small ones", async () => {
    const turns = new Turns(blob(), true);
    const count = 6000;
    for (let i = 0; i < count; i++)
      await turns.handle.put(`file ${i}`, Buffer.from(`content ${i}`));
    const handle = turns.next();
    expect((await all(handle.list())).length).toBe(count);
    for (let i = 0; i < count; i += 97)
      expect((await contentOf(handle, `file ${i}`)).toString()).toBe(`content ${i}`);
    for (let i = 0; i < count; i += 2) expect(await handle.delete(`file ${i}`)).toBe(true);
    expect((await all(handle.list())).length).toBe(count / 2);
    expect(await handle.reclaim()).toBe(true);
    expect((await handle.stats()).chunks).toBe(count / 2);
  });

  it("keeps the old blob until the new one is whole", async () => {
    const turns = new Turns(blob(), true);
    await turns.handle.put("a", Buffer.from("old"));
    const failing = (async function* () {
      yield POOL.subarray(0, 200_000);
      throw new Error("the source failed");
    })();
    await expect(turns.handle.put("a", failing)).rejects.toThrow("the source failed");
    const writer = await turns.handle.begin("a");
    await writer.write(POOL);
    await writer.pause();
    await expectCode(() => writer.write(POOL), "invalid-argument");
    expect((await contentOf(turns.next(), "a")).toString()).toBe("old");
    await (await turns.handle.resume("a")).finish();
    expect((await contentOf(turns.handle, "a")).equals(POOL)).toBe(true);
    await expectCode(() => turns.handle.resume("a"), "not-found");
    await turns.handle.reclaim();
    expect((await turns.handle.stats()).chunkBytes).toBe(POOL.length);
  });

  it("tells a reader when its blob is gone", async () => {
    const { handle } = new Turns(blob(), true);
    await handle.put("a", POOL);
    await handle.put("b", POOL);
    const a = handle.get("a");
    const b = handle.get("b");
    await a.next();
    await b.next();
    await handle.delete("a");
    await expectCode(() => a.next(), "view-expired");
    expect((await b.next()).value?.length).toBeGreaterThan(0);
    await handle.put("b", POOL.subarray(5));
    await expectCode(() => b.next(), "view-expired");
    await expectCode(() => handle.get("a").next(), "not-found");
  });

  it("says what it does not take", async () => {
    await expectCode(() => blob({ grow: "1TiB" }), "config-invalid");
    const turns = new Turns(blob(), true);
    for (const name of ["", "x".repeat(1025), "\ud800"])
      await expectCode(() => turns.handle.put(name, POOL), "invalid-argument");
    expect(turns.extent.lengthBytes).toBe(0);
    await turns.handle.put("a", Buffer.from("text"));
    const extent = new MemoryExtent({ bytes: turns.extent.bytes, readonly: true });
    const handle = turns.definition.open(extent);
    await expectCode(() => handle.put("b", POOL), "readonly-violation");
    await expectCode(() => handle.delete("a"), "readonly-violation");
    expect((await contentOf(handle, "a")).toString()).toBe("text");
    extent.end();
    await expectCode(() => handle.stat("a"), "view-expired");
    const slow = new Turns(blob(), false);
    const pending = slow.handle.put("a", POOL);
    await expectCode(async () => {
      await Promise.resolve();
      await slow.handle.put("b", POOL);
    }, "invalid-argument");
    await pending;
    expect((await contentOf(slow.handle, "a")).equals(POOL)).toBe(true);
  });

  it("meets wrong bytes with an answer or a typed error", async () => {
    const turns = new Turns(blob(), true);
    await turns.handle.put("a", POOL.subarray(0, 300_000));
    for (let i = 0; i < 300; i++) await turns.handle.put(`small ${i}`, Buffer.from(`content ${i}`));
    await turns.handle.put("b", POOL.subarray(100_000, 350_000));
    for (let i = 0; i < 300; i += 2) await turns.handle.delete(`small ${i}`);
    await turns.handle.delete("b");
    const { bytes } = turns.extent;
    // Where records, lists and indexes begin, and the rooms that are free.
    const places: number[] = [];
    for (let at = 896; at < bytes.length; at += 8) {
      const word = Buffer.from(bytes.subarray(at, at + 16));
      if (/BLOB|LIST|CHNK|ROOM/.test(word.toString("latin1")) || word[6] === 1 || word[6] === 2)
        places.push(at);
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), fc.nat(), async (how, where, what) => {
        const at = where % 3 === 0 ? where : places[where % places.length]! + (what % 64);
        const { handle } = new Turns(turns.definition, true, damage(bytes, how, at, what));
        for (const run of [
          () => all(handle.list()),
          () => contentOf(handle, "a"),
          () => contentOf(handle, "small 7"),
          () => handle.put("c", POOL.subarray(200_000, 400_000)),
          () => handle.delete("a"),
          () => handle.reclaim(500),
          () => handle.put("d", POOL.subarray(0, 200_000)),
          () => contentOf(handle, "d"),
          () => all(handle.list()),
          () => handle.stats(),
        ]) {
          await expectContained(run, ["not-found"]);
        }
      }),
      { numRuns: 400 },
    );
  });

  it("keeps its bytes: the format is frozen", async () => {
    const turns = new Turns(blob(), true);
    await turns.handle.put("a", Buffer.from("hello"));
    const digestOf = async () =>
      Buffer.from(await crypto.subtle.digest("SHA-256", turns.extent.bytes)).toString("hex");
    expect(Buffer.from(turns.extent.bytes.subarray(0, 80)).toString("hex")).toBe(GOLDEN_HEADER);
    expect(await digestOf()).toBe(GOLDEN_SMALL);
    await turns.handle.put("b", POOL);
    const writer = await turns.handle.begin("c");
    await writer.write(POOL.subarray(3));
    await writer.pause();
    for (let i = 0; i < 400; i++) await turns.handle.put(`small ${i}`, Buffer.from(`content ${i}`));
    await turns.handle.delete("b");
    expect(await digestOf()).toBe(GOLDEN_LARGE);
    const { bytes } = turns.extent;
    bytes[6] = 2;
    await expectCode(
      () => turns.definition.open(new MemoryExtent({ bytes })).stat("a"),
      "format-too-new",
    );
  });
});

const GOLDEN_HEADER =
  "504e53540300010001000000000000000500000000000000010000000000000005000000000000000000000000000000c003000000000000200500000000000000000000000000002006000000000000";
const GOLDEN_SMALL = "550bea5e4177392520dc094a371edffbc5d5c45295809be8e24ccc932fea2ea6";
const GOLDEN_LARGE = "9493bae18e4d9904fd5fb40c2eeeeb1b632c94b059d5c7d6c6d2d89269db57ce";
