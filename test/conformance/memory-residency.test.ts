/** What is in memory, what is locked there, and what the kernel says about it. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { expectSame, DOORS, isZero, memoryHarness, PAGE } from "./fixtures/memory-harness.ts";
import { CHUNK_BYTES, mappingOf } from "./fixtures/memory-helpers.ts";

const NODE_0 = { kind: "preferred", nodes: [0] } as const;
const FREE_HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";

const sum = (bytes: Iterable<number>): number => [...bytes].reduce((total, n) => total + n, 0);

describe.each(DOORS)("memory door: %s", (kind, make) => {
  const native = kind === "addon";
  const h = memoryHarness(make);

  describe("residency", () => {
    it("is what populate brings and discard takes away", async () => {
      const region = h.reserve(8);
      const resident = (): number | undefined => region.residentBytes(0, 8 * CHUNK_BYTES);
      expect(resident()).toBe(native ? 0 : undefined);
      await region.populate(PAGE, CHUNK_BYTES);
      expect(resident()).toBe(native ? CHUNK_BYTES : undefined);
      await region.populate(0, 4 * CHUNK_BYTES, { hugePages: true, numa: NODE_0 });
      expect(resident()).toBe(native ? 4 * CHUNK_BYTES : undefined);
      region.discard(CHUNK_BYTES, 2 * CHUNK_BYTES);
      expect(resident()).toBe(native ? 2 * CHUNK_BYTES : undefined);
    });

    it("is measured by node and in huge pages", async () => {
      const region = h.reserve(8);
      const measured = () => region.measure(0, 8 * CHUNK_BYTES);
      if (!native) return expect(await measured()).toBeUndefined();
      const nothing = await measured();
      expect(nothing?.hugeBytes).toBe(0);
      // A sandbox may keep to itself where memory is.
      const mayAsk = nothing?.bytesByNode !== undefined;
      if (mayAsk) expect(nothing.bytesByNode).toEqual(new Map());
      await region.populate(0, 3 * CHUNK_BYTES, { hugePages: true });
      await region.populate(4 * CHUNK_BYTES, CHUNK_BYTES);
      await region.populate(6 * CHUNK_BYTES, PAGE);
      const found = await measured();
      if (mayAsk) expect(sum(found?.bytesByNode?.values() ?? [])).toBe(4 * CHUNK_BYTES + PAGE);
      // As many as the kernel had; where it says so for whole mappings only, the part that falls to the range.
      expect((found?.hugeBytes ?? 1) % CHUNK_BYTES).toBe(0);
      expect(found?.hugeBytes).toBeLessThanOrEqual(3 * CHUNK_BYTES);
      expect((await region.measure(4 * CHUNK_BYTES, CHUNK_BYTES))?.hugeBytes).toBe(0);
    });

    it("of more pages than are asked about is measured by a sample", async () => {
      const chunks = 80;
      const region = h.reserve(chunks);
      await region.populate(0, (chunks / 2) * CHUNK_BYTES, { hugePages: true });
      const found = await region.measure(0, chunks * CHUNK_BYTES);
      if (!native) return expect(found).toBeUndefined();
      const expected = (chunks / 2) * CHUNK_BYTES;
      const there = found?.bytesByNode && sum(found.bytesByNode.values());
      expect(Math.abs((there ?? expected) - expected)).toBeLessThan(32 * PAGE);
    });

    it("moves to a node with its content and its lock, and stays where there is none", async () => {
      const region = h.reserve(2);
      const bytes = new Uint8Array(region.view(0, 2 * CHUNK_BYTES)).fill(7);
      await region.lock(0, 2 * CHUNK_BYTES);
      const locked = h.door.facts().lockedBytes;
      const moved = await region.moveTo(0, 2 * CHUNK_BYTES, 0);
      // A kernel without NUMA cannot move, a sandbox may forbid it.
      expect([2 * CHUNK_BYTES, undefined]).toContain(moved);
      if (!native) expect(moved).toBeUndefined();
      expect(await region.moveTo(0, 2 * CHUNK_BYTES, 999)).toBeUndefined();
      expect(bytes.every((byte) => byte === 7)).toBe(true);
      expect(h.door.facts().lockedBytes).toBe(locked);
    });

    it("is where the policy says, or says why not", async () => {
      for (const kind of ["bind", "preferred", "interleave"] as const) {
        const region = h.door.reserve(2 * CHUNK_BYTES, { numa: { kind, nodes: [0] } });
        await region.populate(0, 2 * CHUNK_BYTES);
        const found = await region.measure(0, 2 * CHUNK_BYTES);
        if (found?.bytesByNode !== undefined && region.policyDenied === undefined)
          expect(found.bytesByNode).toEqual(new Map([[0, 2 * CHUNK_BYTES]]));
        region.release();
        const nowhere = h.door.reserve(CHUNK_BYTES, { numa: { kind, nodes: [1_000] } });
        if (native) expect(nowhere.policyDenied).toMatch(/^E[A-Z]+$/);
        else expect(nowhere.policyDenied).toBeUndefined();
        await nowhere.populate(0, CHUNK_BYTES);
        nowhere.release();
      }
    });

    it("of reserved pages is refused where none are reserved, or all set aside", async () => {
      const take = () => h.door.reserve(CHUNK_BYTES, { reservedPageBytes: CHUNK_BYTES });
      const free = native ? Number(readFileSync(FREE_HUGE, "latin1")) : 0;
      if (free === 0) return expect(take).toThrow(expect.objectContaining({ code: "overloaded" }));
      const region = take();
      await region.populate(0, CHUNK_BYTES);
      expect((await region.measure(0, CHUNK_BYTES))?.hugeBytes).toBe(CHUNK_BYTES);
      region.release();
    });

    it("changes no content", async () => {
      const region = h.reserve(3);
      const bytes = new Uint8Array(region.view(0, 3 * CHUNK_BYTES)).map((_, i) => i * 7);
      await region.populate(0, 3 * CHUNK_BYTES, {
        hugePages: true,
        numa: { kind: "preferred", nodes: [99] },
      });
      const denial = await region.lock(0, 3 * CHUNK_BYTES);
      expect(denial === undefined || typeof denial === "string").toBe(true);
      region.unlock(0, 3 * CHUNK_BYTES);
      expectSame(h.contentOf(region, 0, 3 * CHUNK_BYTES), new Uint8Array(3 * CHUNK_BYTES));
      expect(bytes).toHaveLength(3 * CHUNK_BYTES);
    });

    it("of views is zeros once discarded", async () => {
      const region = h.reserve(2);
      const bytes = new Uint8Array(region.view(0, 2 * CHUNK_BYTES)).fill(1);
      await region.lock(0, CHUNK_BYTES);
      region.discard(PAGE, CHUNK_BYTES);
      expect([bytes[PAGE - 1], bytes[PAGE], bytes[PAGE + CHUNK_BYTES]]).toEqual([1, 0, 1]);
      bytes[PAGE] = 5;
      expect(h.contentOf(region, PAGE, 1)[0]).toBe(5);
    });

    it.each([PAGE, 2 * CHUNK_BYTES, 9 * CHUNK_BYTES])(
      "of %s bytes can be locked",
      async (byteCount) => {
        const region = h.reserve(9);
        await region.populate(0, byteCount);
        const before = h.door.facts().lockedBytes ?? 0;
        const denial = await region.lock(0, byteCount);
        if (!native) expect(denial).toBe("unsupported");
        else if (denial === undefined) expect(h.door.facts().lockedBytes).toBe(before + byteCount);
        else expect(h.door.facts().lockableBytes).toBeLessThan(before + byteCount);
        region.unlock(0, byteCount);
        expect(h.door.facts().lockedBytes ?? 0).toBe(before);
      },
    );

    it("locked without being there is not brought in, and stays locked when discarded", async () => {
      const region = h.reserve(9);
      await region.lock(0, 9 * CHUNK_BYTES);
      expect(region.residentBytes(0, 9 * CHUNK_BYTES) ?? 0).toBe(0);
      new Uint8Array(region.view(0, PAGE)).fill(1);
      region.discard(0, 9 * CHUNK_BYTES);
      expect(isZero(h.contentOf(region, 0, PAGE))).toBe(true);
    });
  });

  // The mappings of ordinary buffers are the C library's business.
  const itOfMappings = native ? it : () => {};
  itOfMappings(
    "tells the kernel to keep the memory from child processes and core dumps",
    async () => {
      // A length nobody else has.
      const region = h.reserve(37);
      h.fileOf(29 * PAGE);
      h.mapFile(0, 29 * PAGE);
      for (const byteCount of [37 * CHUNK_BYTES, 29 * PAGE])
        expect(mappingOf(byteCount)?.flags).toEqual(
          expect.arrayContaining(["rd", "wr", "dc", "dd", "nh"]),
        );
      await region.populate(0, 37 * CHUNK_BYTES, { hugePages: true, numa: NODE_0 });
      expect(mappingOf(37 * CHUNK_BYTES)?.flags).toEqual(
        expect.arrayContaining(["dc", "dd", "hg"]),
      );
      expect(mappingOf(37 * CHUNK_BYTES)?.rssBytes).toBe(37 * CHUNK_BYTES);
    },
  );

  itOfMappings(
    "is one mapping again once its parts are alike, in whatever order they were touched",
    async () => {
      const region = h.reserve(43);
      for (const first of [1, 0]) {
        for (let i = first; i < 43; i += 2)
          await region.populate(i * CHUNK_BYTES, CHUNK_BYTES, { hugePages: true });
        if (first === 1) expect(mappingOf(43 * CHUNK_BYTES)).toBeUndefined();
      }
      expect(mappingOf(43 * CHUNK_BYTES)?.rssBytes).toBe(43 * CHUNK_BYTES);
    },
  );

  it("gives everything back on release", async () => {
    const region = h.reserve(41);
    const before = h.door.facts();
    await region.populate(0, 41 * CHUNK_BYTES);
    await region.lock(0, 41 * CHUNK_BYTES);
    region.view(0, CHUNK_BYTES);
    region.release();
    if (!native) return expect(h.door.facts().lockedBytes).toBe(before.lockedBytes);
    // Once V8 has let go of the view and a thread has unmapped it.
    await expect.poll(() => mappingOf(41 * CHUNK_BYTES)).toBeUndefined();
    expect(h.door.facts().lockedBytes).toBe(before.lockedBytes);
  });

  it("knows where the process stands", () => {
    const facts = h.door.facts();
    expect(facts.lockableBytes).toBeGreaterThanOrEqual(0);
    if (!native) expect(facts.lockableBytes).toBe(0);
    expect(facts.lockedBytes).toEqual(expect.any(Number));
    expect(facts.mappings).toBeGreaterThan(10);
    expect(facts.mappingsMax).toBeGreaterThanOrEqual(facts.mappings!);
    if (native) {
      expect(facts.majorFaults).toBeGreaterThanOrEqual(0);
      const region = h.reserve(1);
      new Uint8Array(region.view(0, 100 * PAGE)).fill(1);
      expect(h.door.facts().minorFaults).toBeGreaterThanOrEqual(facts.minorFaults! + 100);
    } else expect([facts.majorFaults, facts.minorFaults]).toEqual([undefined, undefined]);
    expect(h.door.bindThread([100_000])).toBe(false);
  });
});
