#!/usr/bin/env node
// Does `npm start` work for somebody who has just cloned this? Copies the tree without anything
// installed or built and runs it with an empty environment:
//   1. with a PATH that holds Node, npm and coreutils, but no compiler → the portable fallback, said so
//   2. with the usual PATH of a bare machine
//   3. the same again → nothing is installed a second time
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listFiles, ROOT } from "./lib/tree.mjs";

const BARE_PATH = ["/usr/local/bin", "/usr/bin", "/bin"];
const COMPILERS =
  /^(?:.*-)?(?:cc|c\+\+|gcc|g\+\+|clang|clang\+\+|tcc|c89|c99|cpp|ld|as|make)(?:-[\d.]+)?$/;
const FALLBACK = /portable fallback/;
/** What the part with the large actor prints; how much it holds and how fast it is depend on the machine. */
const LARGE = [
  /One actor with \d+(?:\.\d+)? [MG]iB of state.*heap is limited to 256 MiB/,
  /filled +by \d+ calls .*each on disk before its answer/,
  /scanned +[\d,]+ rows at \d+\.\d GB\/s/,
  /deactivated RAM of the host .* → /,
  /reactivated in [\d.]+ m?s: \d+(?:\.\d+)? [MG]iB (?:pinned|in memory)/,
];
const FAULTS = /waited for a disk: (\d+) before, (\d+) after/;
const INSTALL = /Installing dependencies/;
const TIMEOUT_MS = 240_000;

const find = (program) => BARE_PATH.map((folder) => join(folder, program)).find(existsSync);
if (find("npm") === undefined || find("node") === undefined) {
  console.log(`no Node and npm in ${BARE_PATH.join(", ")} to start from`);
  process.exit(77);
}

const temp = mkdtempSync(join(tmpdir(), "pinion-demo-"));
const home = join(temp, "home");
mkdirSync(home);

function copyTree(name) {
  const target = join(temp, name);
  for (const path of listFiles()) cpSync(join(ROOT, path), join(target, path));
  return target;
}

/** Links to all programs of the bare PATH that compile nothing. */
function pathWithoutCompiler() {
  const target = join(temp, "bin");
  mkdirSync(target);
  for (const folder of BARE_PATH.filter(existsSync)) {
    for (const program of readdirSync(folder)) {
      if (COMPILERS.test(program) || existsSync(join(target, program))) continue;
      try {
        symlinkSync(join(folder, program), join(target, program));
      } catch {
        // A broken link of the same name is there already.
      }
    }
  }
  return target;
}

function checkLarge(text) {
  const missing = LARGE.find((line) => !line.test(text));
  if (missing !== undefined) return `did not print ${missing}`;
  const [, before, after] = FAULTS.exec(text) ?? [];
  if (before !== after) return `turns of a pinned actor waited for a disk ${after - before} times`;
  return undefined;
}

function npmStart(title, cwd, path, check, args = []) {
  const startedAtMs = performance.now();
  const { status, signal, stdout, stderr } = spawnSync(find("npm"), ["start", ...args], {
    cwd,
    env: { HOME: home, PATH: path },
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0);
  const text = stderr + stdout;
  const problem =
    status === 0
      ? (checkLarge(stdout) ?? check(text))
      : `ended with ${signal ?? `exit code ${status}`}`;
  if (problem === undefined) console.log(`ok: ${title} (${seconds} s)`);
  else throw new Error(`${title}: ${problem} after ${seconds} s\n${text}`);
}

try {
  const hasNative = existsSync(join(ROOT, "packages/storage/native/build.mjs"));
  const bare = copyTree("no-compiler");
  npmStart("without a compiler", bare, pathWithoutCompiler(), (text) => {
    if (hasNative && !FALLBACK.test(text)) return "did not say that the portable fallback is used";
  });
  rmSync(bare, { recursive: true, force: true });

  const clone = copyTree("clone");
  npmStart("fresh checkout", clone, BARE_PATH.join(":"), () => undefined);
  npmStart(
    "second run",
    clone,
    BARE_PATH.join(":"),
    (text) => {
      if (INSTALL.test(text)) return "installed everything again";
    },
    ["--", "--state", "256MiB"],
  );
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(temp, { recursive: true, force: true });
}
