/**
 * Runs a program with the addon built for the address sanitiser, which finds accesses to memory that was freed or never
 * ours in the addon's own code: `node packages/storage/native/with-asan.mjs vitest run --project conformance test/conformance/memory`;
 * `pnpm asan` runs all suites over it.
 *
 * Leaks are not reported: V8 gives little back at its end. SIGBUS stays with the addon, whose business it is.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  console.error("usage: node with-asan.mjs <program> [arguments]");
  process.exit(2);
}
execFileSync(process.execPath, [join(here, "build.mjs"), "--asan"], { stdio: "inherit" });
const library = execFileSync(process.env.CC ?? "cc", ["-print-file-name=libasan.so"], {
  encoding: "utf8",
});
const { status, signal } = spawnSync(program, args, {
  stdio: "inherit",
  env: {
    ...process.env,
    LD_PRELOAD: realpathSync(library.trim()),
    ASAN_OPTIONS: "detect_leaks=0:handle_sigbus=0:abort_on_error=1",
    PINION_ADDON_DIR: "asan",
  },
});
process.exitCode = signal === null ? (status ?? 1) : 1;
