import { defineConfig } from "vitest/config";

/** After this a test hangs: several times what the slowest takes, since a busy machine is no failure. */
const HANGS_MS = { unit: 60_000, conformance: 60_000, integration: 120_000, simulation: 300_000 };

/** Suites run one after the other (scripts/ci-test.mjs), each on the two cores it is budgeted for. */
const suite = (name: keyof typeof HANGS_MS, include: string[]) => ({
  extends: true as const,
  test: { name, include, testTimeout: HANGS_MS[name], hookTimeout: HANGS_MS[name] },
});

export default defineConfig({
  // Packages resolve to their sources: nothing has to be built before a test runs.
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "module-sync"] } },
  test: {
    pool: "forks",
    maxWorkers: 2,
    execArgv: ["--conditions=source"],
    setupFiles: ["test/support/property-seed.ts"],
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
      suite("unit", ["packages/*/src/**/*.test.ts", "test/*.test.ts", "test/support/**/*.test.ts"]),
      suite("conformance", ["test/conformance/**/*.test.ts"]),
      suite("integration", ["test/integration/**/*.test.ts"]),
      suite("simulation", ["test/simulation/**/*.test.ts"]),
    ],
  },
});
