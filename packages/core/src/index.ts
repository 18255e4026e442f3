export * from "./actor-type.ts";
export * from "./actor-id.ts";
export * from "./clock.ts";
export * from "./errors.ts";
export * from "./hybrid-clock.ts";
export * from "./lsn.ts";
export * from "./rng.ts";
export * from "./telemetry.ts";
