import { isPinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { decodeClusterState, encodeClusterState, type ClusterState } from "./cluster-state.ts";

const STATE = {
  clusterId: "c",
  hostId: "h",
  incarnation: 3,
  shardCount: 16,
  workers: 2,
  owners: [
    { from: 0, count: 8, worker: 0, term: 1 },
    { from: 8, count: 8, worker: 1, term: 1 },
  ],
} as unknown as ClusterState;

function refused(change: Record<string, unknown>): string {
  try {
    decodeClusterState(Buffer.from(JSON.stringify({ ...STATE, ...change })));
  } catch (error) {
    if (isPinionError(error, "corruption")) return error.message;
    throw error;
  }
  return "accepted";
}

describe("the embedded cluster's state", () => {
  it("is read as it was written", () => {
    expect(decodeClusterState(encodeClusterState(STATE))).toEqual(STATE);
  });

  it.each([
    ["a list of owners with a gap", { owners: [{ from: 1, count: 15, worker: 0, term: 1 }] }],
    ["owners that cover too few shards", { owners: [{ from: 0, count: 15, worker: 0, term: 1 }] }],
    ["a worker that does not exist", { owners: [{ from: 0, count: 16, worker: 2, term: 1 }] }],
    ["a term of 0", { owners: [{ from: 0, count: 16, worker: 0, term: 0 }] }],
    ["owners that are no list", { owners: {} }],
    ["no incarnation", { incarnation: undefined }],
    ["a fraction of a shard", { shardCount: 1.5 }],
    ["more shards than a record header can name", { shardCount: 65_537 }],
    ["an empty host id", { hostId: "" }],
  ])("is refused with %s", (_what, change) => {
    expect(refused(change)).toContain("not what was written");
  });

  it("is refused when it is no JSON", () => {
    expect(() => decodeClusterState(Buffer.from("{"))).toThrow(/not JSON/);
  });
});
