import { defineConfig } from "vitest/config";

/** Suites run one after the other (scripts/ci-test.mjs), each on the two cores it is budgeted for. */
const suite = (name: string, include: string[], testTimeoutMs: number) => ({
  extends: true as const,
  test: { name, include, testTimeout: testTimeoutMs, hookTimeout: testTimeoutMs },
});

export default defineConfig({
  // Packages resolve to their sources: nothing has to be built before a test runs.
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "module-sync"] } },
  test: {
    pool: "forks",
    maxWorkers: 2,
    execArgv: ["--conditions=source"],
    exclude: ["**/node_modules/**", "**/dist/**", "test/bench/peers/**"],
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      exclude: ["**/*.test.ts"],
      // The parts where a forgotten branch loses data.
      thresholds: {
        "packages/core/src/**": { branches: 90 },
        "packages/storage/src/log/**": { branches: 90 },
        "packages/runtime/src/activation/**": { branches: 90 },
      },
    },
    projects: [
      suite(
        "unit",
        ["packages/*/src/**/*.test.ts", "test/*.test.ts", "test/support/**/*.test.ts"],
        20_000,
      ),
      suite("conformance", ["test/conformance/**/*.test.ts"], 60_000),
      suite("integration", ["test/integration/**/*.test.ts"], 120_000),
      suite("simulation", ["test/simulation/**/*.test.ts"], 300_000),
    ],
  },
});
