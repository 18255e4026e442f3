import { status } from "@grpc/grpc-js";
import { CODE_TRAILER, ERROR_TRAILER } from "@pinion/client";
import { decodeError, ERROR_CODES, PinionError } from "@pinion/core";
import { describe, expect, it } from "vitest";
import { serviceErrorOf } from "./grpc-status.ts";

const carried = (error: PinionError) =>
  decodeError(serviceErrorOf(error).metadata.get(ERROR_TRAILER)[0] as Buffer);

describe("errors as gRPC statuses", () => {
  it("carry the whole error beside the status", () => {
    const error = new PinionError("overloaded", "full", { retryAfterMs: 5, details: { limit: 3 } });
    const service = serviceErrorOf(error);
    expect(service).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: "full" });
    expect(service.metadata.get(CODE_TRAILER)).toEqual(["overloaded"]);
    expect(carried(error)).toMatchObject({
      code: "overloaded",
      retryAfterMs: 5,
      details: { limit: 3 },
      remoteStack: undefined,
    });
  });

  it("are UNAVAILABLE only where asking again may help: gRPC's own retries act on that", () => {
    const errors = ERROR_CODES.map((code) => new PinionError(code, "x"));
    const unavailable = errors.filter((e) => serviceErrorOf(e).code === status.UNAVAILABLE);
    expect(unavailable.map((e) => e.code)).toEqual([
      "unavailable",
      "draining",
      "relocate",
      "disk-full",
    ]);
    expect(unavailable.filter((e) => e.retry === "never")).toEqual([]);
  });

  it("stay small enough for trailers, whatever the error", () => {
    const error = new PinionError("actor-error", "é".repeat(10_000), {
      details: { big: "x".repeat(7_000) },
      userName: "Big",
    });
    expect(serviceErrorOf(error).details.length).toBeLessThan(1_100);
    expect((serviceErrorOf(error).metadata.get(ERROR_TRAILER)[0] as Buffer).length).toBeLessThan(
      6 * 1024,
    );
    expect(carried(error)).toMatchObject({
      code: "actor-error",
      userName: "Big",
      details: { shortened: true },
    });
  });
});
