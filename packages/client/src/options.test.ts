import { describe, expect, it } from "vitest";
import { parseTargets } from "./connect.ts";
import { resolveClientOptions } from "./options.ts";

describe("client options", () => {
  it("are complete and frozen", () => {
    const options = resolveClientOptions({ timeoutMs: 5 });
    expect(options).toMatchObject({
      timeoutMs: 5,
      retryHorizonMs: 120_000,
      maxInFlight: 4096,
      overloadRetries: 5,
    });
    expect(Object.isFrozen(options)).toBe(true);
  });

  it.each<[object, string]>([
    [{ maxInFlight: 0 }, "maxInFlight"],
    [{ retryHorizonMs: "2m" }, "retryHorizonMs"],
    [{ retryHorizonMS: 1 }, "did you mean retryHorizonMs?"],
    [
      { reconnectDelayMsMin: 100, reconnectDelayMsMax: 50 },
      "reconnectDelayMsMin ≤ reconnectDelayMsMax must hold",
    ],
  ])("name the key that is wrong: %o", (options, message) => {
    expect(() => resolveClientOptions(options)).toThrow(message);
  });
});

describe("targets", () => {
  it("may be one address or several, in a list or a text", () => {
    expect(parseTargets("127.0.0.1:7070")).toEqual(["127.0.0.1:7070"]);
    expect(parseTargets("a:1, b.example.com:2,a:1")).toEqual(["a:1", "b.example.com:2"]);
    expect(parseTargets(["[::1]:7070"])).toEqual(["[::1]:7070"]);
  });

  it.each(["", "a", "a:", "a:0", "a:65536", "http://a:1", "a b:1", []])(
    "must be addresses: %o",
    (target) => {
      expect(() => parseTargets(target)).toThrow("target");
    },
  );
});
