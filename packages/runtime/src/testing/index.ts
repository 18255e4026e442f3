/** For tests of actors: see docs/testing-actors.md. */
export { createTestHost, TestHost, type TestHostOptions, type TestWarning } from "./test-host.ts";
export type { CrashPoint } from "./crash-point.ts";
