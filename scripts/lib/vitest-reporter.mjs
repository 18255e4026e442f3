// Vitest reporter that leaves the counts scripts/ci-test.mjs needs in the file PINION_SUITE_RESULT.
// Vitest's own JSON reporter drops the reasons of skipped tests.
import { writeFileSync } from "node:fs";

export default class CountingReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const result = { passed: 0, failed: unhandledErrors.length, skipped: [] };
    for (const module of modules) {
      // A file that does not load has errors of its own and no tests.
      if (module.errors().length > 0) result.failed++;
      for (const test of module.children.allTests()) {
        const { state, note } = test.result();
        if (state === "passed") result.passed++;
        else if (state === "failed") result.failed++;
        else result.skipped.push({ test: test.fullName, reason: note ?? "no reason given" });
      }
    }
    const path = process.env.PINION_SUITE_RESULT;
    if (path) writeFileSync(path, JSON.stringify(result));
  }
}
