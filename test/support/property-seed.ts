/**
 * Where the seeds of property tests come from: on CI the same for every run, so that what it says depends on the commit alone; elsewhere a new
 * one for each test, so that every run looks further. `PINION_TEST_SEED` is one to take instead; a failure prints its own.
 */
import fc from "fast-check";

const CI_SEED = 1;

const given = process.env["PINION_TEST_SEED"] ?? (process.env["CI"] === "true" ? CI_SEED : "");
if (given !== "") {
  const seed = Number(given);
  if (!Number.isInteger(seed))
    throw new Error(`PINION_TEST_SEED is a whole number, not ${String(given)}`);
  fc.configureGlobal({ seed });
}
