/** Checksums of 4 KiB pages: what every page pays when it is brought in. */
import { crc32c as floorCrc32c } from "@node-rs/crc32";
import { crc32c } from "@pinion/storage";
import { perSecond, type BenchContext, type BenchSuite } from "../harness.ts";

const PAGE_BYTES = 4096;
const PAGES = 4096;

export const suite: BenchSuite = {
  name: "crc",
  cases: ({ scale }: BenchContext) => {
    const bytes = new Uint8Array(PAGES * PAGE_BYTES).map((_, i) => i * 31 + (i >>> 8));
    const pages = Array.from({ length: PAGES }, (_, i) =>
      bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES),
    );
    const count = Math.round(1_000_000 * scale);
    let sum = 0;
    const contender = (sumOf: (page: Uint8Array) => number) => async () => {
      const startMs = performance.now();
      for (let i = 0; i < count; i++) sum ^= sumOf(pages[i % PAGES]!);
      return perSecond(count, startMs);
    };
    return [
      {
        name: "page",
        unit: "pages/s",
        better: "higher",
        subject: contender((page) => crc32c(page)),
        floor: contender((page) => floorCrc32c(page)),
        // Keeps the sums from being optimised away.
        setUp: async () => async () => void (sum === 0.5 && console.error(sum)),
      },
    ];
  },
};
