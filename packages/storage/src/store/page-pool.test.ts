import { PinionError, systemClock } from "@pinion/core";
import { expect, test } from "vitest";
import {
  PAGE_BYTES,
  pageChecksum,
  PageKind,
  type PageEntry,
  type PageName,
} from "../segment/page-entry.ts";
import { PagePool, type PooledSegments } from "./page-pool.ts";

const NAME: PageName = { volume: 7, kind: PageKind.data, level: 0, index: 3 };
const SEGMENT = 1;

/** Segments of a shard whose every page holds one number; reads wait while `gate` is shut. */
class NumberedSegments implements PooledSegments {
  readonly number: number;
  gate: Promise<void> | undefined;
  reads = 0;

  constructor(number: number) {
    this.number = number;
  }

  #page(): Uint8Array {
    return new Uint8Array(PAGE_BYTES).fill(this.number);
  }

  /** What a page at `page` must look like. */
  entry(page: number): PageEntry {
    const birth = this.number;
    return {
      segment: SEGMENT,
      page,
      birth,
      checksum: pageChecksum(NAME, SEGMENT, page, birth, this.#page()),
    };
  }

  async readSegment(_segment: number, _offset: number, into: Uint8Array): Promise<number> {
    this.reads++;
    await this.gate;
    into.fill(this.number);
    return into.length;
  }

  read(): Promise<Uint8Array> {
    return Promise.resolve(this.#page());
  }

  damaged(_name: PageName, entry: PageEntry, what: string): PinionError {
    return new PinionError("corruption", `page ${entry.page}: ${what}`);
  }
}

const poolOf = (pages: number): PagePool =>
  new PagePool({ capacityBytes: pages * PAGE_BYTES, clock: systemClock });

function gate(): { readonly shut: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const shut = new Promise<void>((resolve) => (open = resolve));
  return { shut, open };
}

/** More places than the pool remembers. */
const MANY_PLACES = 70_000;

test("a shard that comes after another one finds none of its pages, however long ago they were looked up", async () => {
  const pool = poolOf(64);
  const first = new NumberedSegments(1);
  const before = pool.attach(first);
  await before.read(NAME, first.entry(5));
  expect(before.peek(first.entry(5))).toBeDefined();
  for (let i = 0; i < MANY_PLACES; i++)
    before.expect(NAME, { ...first.entry(6), segment: 2 + Math.floor(i / 1000), page: i % 1000 });
  before.detach();
  const second = new NumberedSegments(2);
  const after = pool.attach(second);
  expect(after.peek(second.entry(5))).toBeUndefined();
  expect((await after.read(NAME, second.entry(5)))[0]).toBe(2);
  expect(pool.stats()).toMatchObject({ usedFrames: 1, damaged: 0 });
});

test("a read that waits long is verified, however many places are looked up meanwhile", async () => {
  const pool = poolOf(64);
  const segments = new NumberedSegments(1);
  const { shut, open } = gate();
  segments.gate = shut;
  const pages = pool.attach(segments);
  const reading = pages.read(NAME, segments.entry(5));
  for (let i = 0; i < MANY_PLACES; i++)
    pages.expect(NAME, { ...segments.entry(6), segment: 2 + Math.floor(i / 1000), page: i % 1000 });
  open();
  expect((await reading)[0]).toBe(1);
  expect(pool.stats().damaged).toBe(0);
});

test("a read that runs while its shard leaves never ends with a page of the next one", async () => {
  const pool = poolOf(64);
  const first = new NumberedSegments(1);
  const { shut, open } = gate();
  first.gate = shut;
  const before = pool.attach(first);
  // More than run at a time: some wait to be begun.
  const late = Promise.allSettled(
    [10, 20, 30, 40, 50, 60].map((page) => before.read(NAME, first.entry(page))),
  );
  before.detach();
  const second = new NumberedSegments(2);
  const after = pool.attach(second);
  const fresh = [10, 20, 30, 40, 50, 60].map((page) => after.read(NAME, second.entry(page)));
  open();
  for (const page of await Promise.all(fresh)) expect(page[0]).toBe(2);
  for (const result of await late) {
    if (result.status === "fulfilled") expect(result.value[0]).toBe(1);
    else expect(result.reason).toMatchObject({ code: "unavailable" });
  }
  expect(pool.stats().damaged).toBe(0);
});

test("who still has the pages of a shard that has left is refused, and is not given those of the next", async () => {
  const pool = poolOf(64);
  const first = new NumberedSegments(1);
  const before = pool.attach(first);
  before.detach();
  const second = new NumberedSegments(2);
  const after = pool.attach(second);
  await after.read(NAME, second.entry(5));
  expect(before.peek(first.entry(5))).toBeUndefined();
  await expect(before.read(NAME, first.entry(5))).rejects.toMatchObject({ code: "unavailable" });
  before.expect(NAME, first.entry(6));
  expect((await after.read(NAME, second.entry(6)))[0]).toBe(2);
});

test("a place in the pool is free for another shard once the reads of the last one have ended", async () => {
  const pool = poolOf(64);
  for (let i = 0; i < 2000; i++) {
    const segments = new NumberedSegments(i % 250);
    const pages = pool.attach(segments);
    expect((await pages.read(NAME, segments.entry(5)))[0]).toBe(i % 250);
    pages.detach();
    await Promise.resolve();
  }
});
