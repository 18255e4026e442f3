import { seededRng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { Access, AccessStreams, ExtentUsage, heatWeightOf, SCAN_BYTES } from "./extent-usage.ts";
import { capacityFor, ExtentGrowth, GROW_BYTES } from "./growth.ts";

const MIB = 2 ** 20;
const PAGE = 4_096;

describe("accesses of a turn", () => {
  it("are random, sequential and, once much was read in a row, scans", () => {
    const usage = new ExtentUsage();
    const streams = new AccessStreams();
    expect(streams.made).toBe(0);
    expect(streams.read(0, PAGE)).toBe(Access.random);
    expect(streams.read(PAGE, PAGE)).toBe(Access.sequential);
    expect(streams.read(50 * PAGE, PAGE)).toBe(Access.random);
    // The first stream goes on beside the other.
    expect(streams.read(2 * PAGE, PAGE)).toBe(Access.sequential);
    expect(streams.read(9_000 * PAGE, PAGE)).toBe(Access.random);
    expect(streams.read(0, SCAN_BYTES)).toBe(Access.scan);
    expect(streams.read(SCAN_BYTES, 1)).toBe(Access.scan);
    streams.write++;
    usage.used(streams, 0);
    expect(usage.counts).toEqual({ random: 3, sequential: 2, scan: 2, write: 1 });
    expect(streams.made).toBe(15);
  });

  it("of a structure that looks into its directory in between are sequential all the same", () => {
    const usage = new ExtentUsage();
    const streams = new AccessStreams();
    for (let block = 0; block < 100; block++) {
      streams.read(4_000_000 + block * 64, 64);
      streams.read(block * 65_536, 65_536);
    }
    usage.used(streams, 0);
    expect(usage.random).toBe(2);
    expect(usage.scan).toBe(97);
    expect(usage.isScanned).toBe(true);
  });

  it("here and there are no scan, however many", () => {
    const usage = new ExtentUsage();
    const streams = new AccessStreams();
    const rng = seededRng(1);
    for (let i = 0; i < 10_000; i++) streams.read(rng.below(2 ** 30), 100_000);
    usage.used(streams, 0);
    expect(usage.isScanned).toBe(false);
    expect(usage.scan).toBeLessThan(100);
  });

  it("heat by the most demanding of them", () => {
    expect(heatWeightOf(0)).toBe(0);
    expect(heatWeightOf(Access.scan)).toBe(0.25);
    expect(heatWeightOf(Access.scan | Access.sequential)).toBe(0.5);
    expect(heatWeightOf(Access.scan | Access.write)).toBe(1);
    const [scanned, looked] = [new ExtentUsage(), new ExtentUsage()];
    for (let i = 0; i < 3; i++) {
      for (const [usage, byteCount] of [
        [scanned, SCAN_BYTES],
        [looked, PAGE],
      ] as const) {
        const streams = new AccessStreams();
        streams.read(0, byteCount);
        usage.used(streams, 0);
      }
    }
    expect(looked.heat.at(0)).toBeCloseTo(0.75);
    expect(scanned.heat.at(0)).toBeCloseTo(0.75 / 1.75);
  });
});

describe("room of an extent", () => {
  it("begins at 64 KiB, holds what is in it, and grows by no more than the cap", () => {
    expect(capacityFor(0, GROW_BYTES.default)).toBe(64 * 1024);
    const rng = seededRng(2);
    for (let i = 0; i < 5_000; i++) {
      const cap = rng.pick([64 * 1024, MIB, GROW_BYTES.hotColumn, GROW_BYTES.scan]);
      const length = Math.floor(2 ** (rng.float() * 34));
      const capacity = capacityFor(length, cap);
      expect(capacity).toBeGreaterThanOrEqual(length);
      // Chunks of 2 MiB are whole.
      expect(capacity - Math.max(length, 64 * 1024)).toBeLessThanOrEqual(cap + 2 * MIB);
      expect(capacityFor(length + 1, cap)).toBeGreaterThanOrEqual(capacity);
    }
    expect(capacityFor(1_000 * MIB, GROW_BYTES.hotColumn)).toBe(1_016 * MIB);
    expect(capacityFor(1_000 * MIB, GROW_BYTES.scan)).toBe(1_250 * MIB);
  });

  it("has the cap of its kind, of scans once it is scanned, and the one that was chosen always", () => {
    const scanned = (kind: string): ExtentGrowth => {
      const usage = new ExtentUsage();
      const streams = new AccessStreams();
      streams.read(0, 8 * MIB);
      usage.used(streams, 0);
      return new ExtentGrowth(kind, usage);
    };
    expect(new ExtentGrowth("column", new ExtentUsage()).bytes).toBe(16 * MIB);
    expect(new ExtentGrowth("map", new ExtentUsage()).bytes).toBe(64 * MIB);
    expect(scanned("column").bytes).toBe(256 * MIB);
    expect(scanned("graph").bytes).toBe(128 * MIB);
    const chosen = scanned("column");
    chosen.cap = { growBytes: MIB, growChosen: true };
    expect(chosen.bytes).toBe(MIB);
  });
});
