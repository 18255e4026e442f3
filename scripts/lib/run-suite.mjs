// Runs one suite of test/suites.json as a child process and says what came of it.
//
// A suite is either a Vitest project, whose test cases are counted one by one, or a command, which
// counts as one case: exit code 0 passed, 77 skipped (the last line it printed says why), else failed.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./tree.mjs";

const EXIT_SKIPPED = 77;
const REPORTER = "scripts/lib/vitest-reporter.mjs";

/** A suite that hangs is ended, with time to spare for a slow machine. */
const hangLimitMs = (suite) => (3 * suite.budgetSeconds + 60) * 1000;

let running;

/** Ends the running suite with everything it started. */
export function stopRunningSuite(signal = "SIGTERM") {
  if (running === undefined) return;
  try {
    process.kill(-running.pid, signal);
  } catch {
    // Gone already.
  }
}

function runChild(suite, command, env, output) {
  return new Promise((resolve) => {
    // A process group of its own, so that a suite can be ended together with what it started.
    const child = spawn(command[0], command.slice(1), {
      cwd: ROOT,
      env,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    running = child;
    let tail = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes) => {
        output.write(bytes);
        tail = (tail + bytes.toString()).slice(-4000);
      });
    }
    let hung = false;
    const timer = setTimeout(() => {
      hung = true;
      stopRunningSuite("SIGKILL");
    }, hangLimitMs(suite));
    const end = (code, problem) => {
      clearTimeout(timer);
      stopRunningSuite("SIGKILL");
      running = undefined;
      resolve({ code, problem, lastLine: tail.trim().split("\n").at(-1) ?? "" });
    };
    child.on("error", (error) => end(1, `could not be started: ${error.message}`));
    child.on("close", (code, signal) => {
      if (hung) end(1, `ended after ${hangLimitMs(suite) / 1000} s without a result`);
      else end(code ?? 1, signal === null ? undefined : `ended by ${signal}`);
    });
  });
}

async function runCommand(suite, env, output) {
  const { code, problem, lastLine } = await runChild(suite, suite.command, env, output);
  if (code === EXIT_SKIPPED) {
    return { passed: 0, failed: 0, skipped: [{ test: suite.name, reason: lastLine }] };
  }
  return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: [], problem };
}

async function runVitest(suite, env, output) {
  const folder = mkdtempSync(join(tmpdir(), "pinion-suite-"));
  const resultPath = join(folder, "result.json");
  const reporters = ["--reporter=default", `--reporter=${REPORTER}`];
  const command = ["vitest", "run", "--project", suite.vitest, "--passWithNoTests", ...reporters];
  try {
    const ended = await runChild(
      suite,
      command,
      { ...env, PINION_SUITE_RESULT: resultPath },
      output,
    );
    const result = existsSync(resultPath)
      ? JSON.parse(readFileSync(resultPath, "utf8"))
      : { passed: 0, failed: 0, skipped: [] };
    if (ended.code !== 0 && result.failed === 0) {
      return { ...result, failed: 1, problem: ended.problem ?? `exit code ${ended.code}` };
    }
    if (result.passed + result.failed + result.skipped.length === 0) {
      result.skipped.push({ test: suite.name, reason: "the suite has no tests" });
    }
    return { ...result, problem: ended.problem };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * → { name, budgetSeconds, seconds, passed, failed, skipped: [{ test, reason }],
 *     failures?: [{ test, why }], problem? }
 */
export async function runSuite(suite, env, output) {
  const startedAtMs = performance.now();
  const run = suite.vitest === undefined ? runCommand : runVitest;
  const result = await run(suite, env, output);
  const seconds = (performance.now() - startedAtMs) / 1000;
  return { name: suite.name, budgetSeconds: suite.budgetSeconds, seconds, ...result };
}
