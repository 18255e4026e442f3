/** For random tests that are no properties of fast-check: its seed where it was given one (test/support/property-seed.ts), else a new one. */
import { randomSeed } from "@pinion/core";
import fc from "fast-check";

export const testSeed = (): number => fc.readConfigureGlobal().seed ?? randomSeed();
