import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { packBytes, unpackBytes } from "./packed-bytes.ts";

describe("packed bytes", () => {
  it("come back as they went in, absent and empty ones told apart", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.uint8Array({ maxLength: 20 }), { nil: undefined })),
        (list) => {
          const back = unpackBytes(packBytes(list));
          expect(back.map((one) => one && [...one])).toEqual(list.map((one) => one && [...one]));
        },
      ),
    );
    expect(unpackBytes(packBytes([]))).toEqual([]);
  });
});
