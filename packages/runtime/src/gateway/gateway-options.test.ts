import { describe, expect, it } from "vitest";
import type { Dispatcher } from "./dispatcher.ts";
import {
  resolveGatewayOptions,
  type GatewayIdentity,
  type GatewayOptions,
} from "./gateway-options.ts";

const resolve = (options: Partial<GatewayOptions>) =>
  resolveGatewayOptions({
    dispatcher: {} as Dispatcher,
    identity: () => ({}) as GatewayIdentity,
    ...options,
  });

describe("gateway options", () => {
  it("are complete and frozen, and loopback by default", () => {
    expect(resolve({})).toMatchObject({
      host: "127.0.0.1",
      port: 0,
      insecurePlaintext: false,
      maxInFlightPerStream: 4096,
    });
    expect(Object.isFrozen(resolve({}))).toBe(true);
  });

  it.each<[Partial<GatewayOptions>, string]>([
    [{ port: 70_000 }, "gateway option port is 70000"],
    [{ maxInFlight: 0 }, "gateway option maxInFlight is 0"],
    [{ maxFrameBytes: 1.5 }, "gateway option maxFrameBytes is 1.5"],
    [{ host: "10.0.0.1" }, "insecurePlaintext"],
    [{ host: "127.0.0.1.evil.example" }, "insecurePlaintext"],
  ])("name the key and the rule: %o", (options, message) => {
    expect(() => resolve(options)).toThrow(message);
  });

  it.each(["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])(
    "know that %s stays on this machine",
    (host) => {
      expect(resolve({ host }).host).toBe(host);
    },
  );

  it("serve other machines when told to by name", () => {
    expect(resolve({ host: "0.0.0.0", insecurePlaintext: true }).host).toBe("0.0.0.0");
  });
});
