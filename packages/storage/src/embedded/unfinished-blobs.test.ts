/** A blob that is written in several updates, and what happens to one that somebody forgets. */
import { seededRng } from "@pinion/core";
import { beforeEach, expect, it } from "vitest";
import { blob, type BlobHandle } from "../structures/blob.ts";
import { codeOf, StoreMachine } from "./store.test.fixture.ts";
import type { Volume } from "./volume.ts";

const FILES = { files: blob() };
const rng = seededRng(3);
const LARGE = new Uint8Array(400_000).map(() => rng.below(256));

let volume: Volume<typeof FILES>;

beforeEach(async () => {
  const store = await new StoreMachine().open({ logSegmentBytes: 8 * 2 ** 20 });
  volume = await store.open("a", FILES);
});

const forgotten: [string, (files: BlobHandle) => Promise<unknown>][] = [
  ["a short one", async (files) => (await files.begin("b")).write(LARGE.subarray(0, 100))],
  ["a long one", async (files) => (await files.begin("b")).write(LARGE)],
  [
    "one that was begun again",
    async (files) => {
      await (await files.begin("b")).write(LARGE);
      await (await files.begin("b")).pause();
    },
  ],
  ["one that was continued", async (files) => (await files.resume("old")).write(LARGE)],
];

it.each(forgotten)("%s that is neither paused nor finished fails the update", async (_, write) => {
  await volume.update(async ({ files }) => {
    const old = await files.begin("old");
    await old.write(LARGE.subarray(0, 1_000));
    await old.pause();
  });
  const before = await volume.read(({ files }) => files.stats());
  expect(await codeOf(volume.update(({ files }) => write(files)))).toBe("invalid-argument");
  expect(await volume.read(({ files }) => files.stats())).toEqual(before);
});

it("one that is begun and not written to costs nothing", async () => {
  await volume.update(({ files }) => files.begin("b"));
  expect(await volume.read(({ files }) => files.stats())).toMatchObject({ chunks: 0, blobs: 0 });
});

it("goes on from update to update, and leaves nothing when it is abandoned", async () => {
  for (const end of ["finish", "abandon"] as const) {
    await volume.update(async ({ files }) => {
      const writer = await files.begin("b");
      await writer.write(LARGE);
      await writer.pause();
    });
    await volume.update(async ({ files }) => {
      const writer = await files.resume("b");
      await writer.write(LARGE);
      await writer[end]();
    });
    const found = await volume.read(({ files }) => files.stat("b"));
    expect(found?.byteCount).toBe(end === "finish" ? 2 * LARGE.length : undefined);
    await volume.update(async ({ files }) => {
      await files.delete("b");
      await files.reclaim();
    });
    expect(await volume.read(({ files }) => files.stats())).toMatchObject({ chunkBytes: 0 });
  }
});
