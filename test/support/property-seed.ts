/**
 * Where the seeds of property tests come from: on CI the same for every run, so that what it says depends on the commit alone; elsewhere a new
 * one for each test, so that every run looks further. `PINION_TEST_SEED` is one to take instead; a failure prints its own.
 */
import fc from "fast-check";

const CI_SEED = 1;

const { CI, PINION_TEST_SEED = "" } = process.env;
const isCi = CI === "true" || CI === "1";
if (isCi || PINION_TEST_SEED !== "") {
  const seed = PINION_TEST_SEED === "" ? CI_SEED : Number(PINION_TEST_SEED);
  if (!Number.isInteger(seed))
    throw new Error(`PINION_TEST_SEED is a whole number, not ${PINION_TEST_SEED}`);
  fc.configureGlobal({ seed });
}
