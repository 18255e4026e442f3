import { PinionError } from "@pinion/core";
import { expect, test } from "vitest";
import { NOTHING_UNWRITTEN, unwrittenBounds, UnwrittenPages } from "./unwritten-pages.ts";

const FULL = { dirty: 100, frozen: 0, copied: 0 };

function full(): UnwrittenPages {
  const unwritten = new UnwrittenPages(unwrittenBounds(4096), () => {});
  unwritten.changed(NOTHING_UNWRITTEN, FULL);
  return unwritten;
}

test("who waits goes on once there is room, or when a checkpoint has failed", () => {
  const unwritten = full();
  const resumed: string[] = [];
  unwritten.whenRoom(() => resumed.push("failed"));
  unwritten.checkpointed(new PinionError("disk-full", "as asked for"));
  expect(resumed).toEqual(["failed"]);
  unwritten.checkpointed(undefined);
  unwritten.whenRoom(() => resumed.push("room"));
  unwritten.changed(FULL, FULL);
  expect(resumed).toEqual(["failed"]);
  unwritten.changed(FULL, NOTHING_UNWRITTEN);
  expect(resumed).toEqual(["failed", "room"]);
});

test("who has given up waiting is forgotten", () => {
  const unwritten = full();
  const resumed: number[] = [];
  for (let i = 0; i < 3; i++) {
    const giveUp = unwritten.whenRoom(() => resumed.push(i));
    if (i !== 1) giveUp();
  }
  unwritten.changed(FULL, NOTHING_UNWRITTEN);
  expect(resumed).toEqual([1]);
});
