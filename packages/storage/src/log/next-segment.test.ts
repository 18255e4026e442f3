import { PinionError, VirtualClock } from "@pinion/core";
import { describe, expect, it } from "vitest";
import type { DiskFile } from "../disk/disk.ts";
import { NextSegment } from "./next-segment.ts";
import type { WritableSegment } from "./staging-buffer.ts";

/** Makes segments on request; `full` is a disk without room. */
class Maker {
  readonly clock = new VirtualClock();
  made = 0;
  tries = 0;
  full = false;
  ready = 0;
  readonly next = new NextSegment(
    async () => {
      this.tries++;
      if (this.full) throw new PinionError("disk-full", "no room");
      return { sequence: ++this.made, generation: 1, fileBytes: 1, file: {} as DiskFile };
    },
    this.clock,
    () => this.ready++,
  );

  async take(): Promise<WritableSegment | undefined> {
    const segment = this.next.take();
    await this.clock.settle();
    return segment;
  }
}

describe("the next segment", () => {
  it("is one until it was missing once, then four, in order", async () => {
    const maker = new Maker();
    maker.next.prepare();
    await maker.clock.settle();
    expect(maker.made).toBe(1);
    expect((await maker.take())?.sequence).toBe(1);
    expect(maker.made).toBe(1);
    expect(await maker.take()).toBeUndefined();
    expect(maker.made).toBe(5);
    expect((await maker.take())?.sequence).toBe(2);
    expect(maker.made).toBe(6);
    expect((await maker.next.stop()).map(({ sequence }) => sequence)).toEqual([3, 4, 5, 6]);
  });

  it("is not hoarded where the disk is full, and comes again with room", async () => {
    const maker = new Maker();
    await maker.take();
    await maker.take();
    expect(maker.made).toBe(5);
    maker.full = true;
    await maker.take();
    // Three are ready: nobody waits, nothing is wrong, nothing is tried again and again.
    expect(maker.next.error).toBeUndefined();
    const tries = maker.tries;
    await maker.clock.advance(60_000);
    expect(maker.tries).toBe(tries);
    for (let left = 0; left < 3; left++) expect(await maker.take()).toBeDefined();
    expect(await maker.take()).toBeUndefined();
    expect(maker.next.error).toMatchObject({ code: "disk-full" });
    maker.full = false;
    await maker.clock.advance(10_000);
    expect(maker.next.error).toBeUndefined();
    // One, not four: it was late because there was no room.
    expect(maker.made).toBe(6);
    expect((await maker.take())?.sequence).toBe(6);
  });
});
