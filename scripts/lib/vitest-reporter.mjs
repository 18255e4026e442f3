// Vitest reporter that leaves the counts scripts/ci-test.mjs needs in the file PINION_SUITE_RESULT,
// and what failed, with why. Vitest's own JSON reporter drops the reasons of skipped tests.
import { writeFileSync } from "node:fs";

/** The first lines of an error, and where in the tree it was thrown. */
function why(errors) {
  return errors
    .map(({ message, stacks = [] }) => {
      const frame = stacks.find(({ file }) => !file.includes("/node_modules/"));
      const at = frame === undefined ? "" : placeOf(frame);
      // Anything can be thrown, so a message need not be one.
      return [...String(message).split("\n").slice(0, 12), at].join("\n").trim();
    })
    .join("\n");
}

const placeOf = ({ file, line, column }) =>
  `at ${file.replace(`${process.cwd()}/`, "")}:${line}:${column}`;

const nameOf = (module, { fullName }) => `${module.relativeModuleId}: ${fullName}`;

export default class CountingReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const result = { passed: 0, failed: 0, skipped: [], failures: [] };
    const fail = (test, errors) => {
      result.failed++;
      result.failures.push({ test, why: why(errors) });
    };
    for (const error of unhandledErrors) fail("an error outside a test", [error]);
    for (const module of modules) {
      // A file that does not load has errors of its own and no tests.
      if (module.errors().length > 0) fail(module.moduleId, module.errors());
      for (const suite of module.children.allSuites())
        if (suite.errors().length > 0) fail(nameOf(module, suite), suite.errors());
      for (const test of module.children.allTests()) {
        const { state, note, errors } = test.result();
        if (state === "passed") result.passed++;
        else if (state === "failed") fail(nameOf(module, test), errors);
        else result.skipped.push({ test: test.fullName, reason: note ?? "no reason given" });
      }
    }
    const path = process.env.PINION_SUITE_RESULT;
    if (path) writeFileSync(path, JSON.stringify(result));
  }
}
