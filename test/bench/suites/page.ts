/** Reading pages that are pinned: a word in place, and a copy of a page, from a random place among 64 MiB. */
import { openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { memoryDoor } from "../memory-access.ts";
import {
  median,
  percentile,
  perSecond,
  type BenchContext,
  type BenchSuite,
  type Contender,
} from "../harness.ts";

const PAGE_BYTES = 4096;
const BYTES = 64 << 20;
const PAGES = BYTES / PAGE_BYTES;
/** Odd, so that every page comes before one comes twice. */
const STRIDE = 7_919;

export const suite: BenchSuite = {
  name: "page",
  cases: ({ dir, scale }: BenchContext) => {
    const door = memoryDoor();
    const fd = openSync(join(dir, "pages"), "w+");
    writeSync(
      fd,
      new Uint8Array(BYTES).map((_, i) => i * 31 + (i >>> 9)),
    );
    const region = door.reserve(BYTES);
    const mapped = door.mapFile(fd, 0, BYTES);
    const view = region.view(0, BYTES);
    const words = new Uint32Array(view);
    const bytes = new Uint8Array(view);
    const heapWords = new Uint32Array(BYTES / 4);
    const mappedBytes = Buffer.from(mapped.view(0, BYTES));
    const into = Buffer.alloc(PAGE_BYTES);
    const reads = Math.round(20_000_000 * scale);
    const copies = Math.round(1_000_000 * scale);
    let sum = 0;

    const wordsOf =
      (array: Uint32Array): Contender =>
      async () => {
        const startMs = performance.now();
        let page = 0;
        for (let i = 0; i < reads; i++) {
          page = (page + STRIDE) % PAGES;
          sum = (sum + array[page * 1024 + (i & 1023)]!) | 0;
        }
        return perSecond(reads, startMs);
      };
    const copiesOf =
      (copy: (offset: number) => void, count = copies): Contender =>
      async () => {
        const startMs = performance.now();
        let page = 0;
        for (let i = 0; i < count; i++) {
          page = (page + STRIDE) % PAGES;
          copy(page * PAGE_BYTES);
        }
        const { value } = perSecond(count, startMs);
        // Single copies, after the timing: asking for the time costs as much as one.
        const latenciesMs = Array.from({ length: 20_000 }, (_, i) => {
          const beganMs = performance.now();
          copy(((i * STRIDE) % PAGES) * PAGE_BYTES);
          return performance.now() - beganMs;
        });
        return { value, p50: median(latenciesMs), p99: percentile(latenciesMs, 99) };
      };
    const setUp = async () => {
      await region.load([{ fd, fileOffset: 0, regionOffset: 0, byteCount: BYTES }]);
      await mapped.populate(0, BYTES);
      await region.lock(0, BYTES);
      heapWords.set(words);
      return async () => void (sum === 0.5 && console.error(sum));
    };
    return [
      {
        name: "hit-view",
        unit: "words/s",
        better: "higher",
        subject: wordsOf(words),
        floor: wordsOf(heapWords),
        setUp,
      },
      {
        name: "hit-copy",
        unit: "pages/s",
        better: "higher",
        subject: copiesOf((at) => into.set(bytes.subarray(at, at + PAGE_BYTES))),
        floor: copiesOf((at) => mappedBytes.copy(into, 0, at, at + PAGE_BYTES)),
        peers: {
          "fs.readSync": copiesOf(
            (at) => readSync(fd, into, 0, PAGE_BYTES, at),
            Math.ceil(copies / 5),
          ),
          guardedCopy: copiesOf((at) => door.guardedCopy(region, at, into)),
        },
        setUp,
      },
    ];
  },
};
