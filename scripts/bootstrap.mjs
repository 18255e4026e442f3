#!/usr/bin/env node
// Makes a bare checkout runnable, then runs one command of it: `node scripts/bootstrap.mjs start|test`.
//
// This is the only file that has to run on the Node of a bare machine (>= 20) with nothing but the
// standard library, which is why it is not TypeScript. Everything else runs on the Node that it installs.
//
// I1  A second run does no work: the install is keyed by a hash of every file that decides it.
// I2  The child's exit code or signal becomes ours; the child, not this script, decides what Ctrl-C means.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MARKER = join(ROOT, "node_modules", ".pinion-install");
const NATIVE_BUILD = join(ROOT, "packages", "storage", "native", "build.mjs");
const PNPM = "pnpm@12";

/** What each command runs with the installed Node. */
const COMMANDS = {
  start: ["--conditions=source", "examples/flights/src/main.ts"],
  test: ["scripts/ci-test.mjs"],
};

/** The Nodes the suite can run on: the first is the default, the others are installed when asked for. */
const NODES = {
  26: join(ROOT, "node_modules"),
  24: join(ROOT, "tools", "node24", "node_modules"),
};

class BootstrapError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

function checkPlatform() {
  const [major] = process.versions.node.split(".").map(Number);
  if (major < 20) {
    throw new BootstrapError(
      "NODE_TOO_OLD",
      `Node ${process.versions.node} is too old to install Pinion: at least Node 20 is needed.`,
    );
  }
  if (process.platform !== "linux" || !["x64", "arm64"].includes(process.arch)) {
    throw new BootstrapError(
      "UNSUPPORTED_PLATFORM",
      `Pinion runs on Linux (x64 or arm64), not on ${process.platform}-${process.arch}. ` +
        "On macOS or Windows, use a Linux container, a virtual machine or WSL 2.",
    );
  }
  // The Node that is installed below is linked against glibc; on musl it would fail with a puzzling ENOENT.
  process.report.excludeNetwork = true;
  if (process.report.getReport().header.glibcVersionRuntime === undefined) {
    throw new BootstrapError(
      "UNSUPPORTED_PLATFORM",
      "Pinion needs a Linux with glibc (Debian, Ubuntu, Fedora…); this one has none (Alpine?).",
    );
  }
}

/** `start|test [--node 24] [arguments for the command…]` */
function parseArguments(argv) {
  const [command, ...rest] = argv;
  if (!Object.hasOwn(COMMANDS, command ?? "")) {
    throw new BootstrapError(
      "USAGE",
      `usage: node scripts/bootstrap.mjs ${Object.keys(COMMANDS).join("|")} [--node ${Object.keys(NODES).join("|")}]`,
    );
  }
  const at = rest.indexOf("--node");
  const nodeMajor = at === -1 ? "26" : rest.splice(at, 2)[1];
  if (!Object.hasOwn(NODES, nodeMajor ?? "")) {
    throw new BootstrapError("USAGE", `--node takes one of ${Object.keys(NODES).join(", ")}`);
  }
  return { command, nodeMajor, rest };
}

function nodeBinary(major) {
  return join(NODES[major], `node-linux-${process.arch}`, "bin", "node");
}

/** Covers every file that decides what is installed, and which Node (I1). */
function installKey(nodeMajor) {
  const files = ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json", "test/package.json"];
  for (const folder of ["packages", "examples", "tools"]) {
    for (const name of readdirSync(join(ROOT, folder)).sort()) {
      files.push(join(folder, name, "package.json"));
    }
  }
  const hash = createHash("sha256").update(`${process.arch} node${nodeMajor}\n`);
  for (const file of files) {
    const path = join(ROOT, file);
    if (existsSync(path)) hash.update(file).update(readFileSync(path));
  }
  return hash.digest("hex");
}

/** Runs a program to its end with its output kept, to be shown only when it fails. */
function runQuietly(program, args, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    }
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ ok: code === 0, code, signal, output }));
  });
}

async function runPnpm(args) {
  try {
    return await runQuietly("npx", args, { ...process.env, NO_UPDATE_NOTIFIER: "1" });
  } catch (error) {
    throw new BootstrapError("NPM_MISSING", `npx could not be started: ${error.message}`);
  }
}

async function install(nodeMajor) {
  const key = installKey(nodeMajor);
  const upToDate = existsSync(MARKER) && readFileSync(MARKER, "utf8") === key;
  if (upToDate && existsSync(nodeBinary(nodeMajor))) return;

  const startedAtMs = Date.now();
  process.stderr.write("Installing dependencies and a current Node (a minute or less)… ");
  rmSync(MARKER, { force: true });
  const args = ["-y", PNPM, "install", "--frozen-lockfile", "--config.confirm-modules-purge=false"];
  // 50 MB that only `--node 24` needs.
  if (nodeMajor !== "24") args.push("--filter=!@pinion/node24");
  let result = await runPnpm(args);
  if (result.output.includes("ERR_PNPM_UNEXPECTED_STORE")) {
    // Another user, or another HOME, installed this tree; pnpm does not re-link it by itself.
    rmSync(join(ROOT, "node_modules"), { recursive: true, force: true });
    result = await runPnpm(args);
  }
  if (!result.ok || !existsSync(nodeBinary(nodeMajor))) {
    process.stderr.write("failed\n");
    const reason = result.ok
      ? `the install went through, but ${nodeBinary(nodeMajor)} is missing (optional dependencies switched off?)`
      : `${PNPM} install ended with ${result.signal ?? `exit code ${result.code}`}`;
    throw new BootstrapError("INSTALL_FAILED", `${reason}\n${result.output.trimEnd()}`);
  }
  writeFileSync(MARKER, key);
  process.stderr.write(`done in ${((Date.now() - startedAtMs) / 1000).toFixed(0)} s\n`);
}

/**
 * Explicitly, not as a lifecycle script: pnpm skips those once everything is up to date. The build
 * script is keyed by its own sources, and says so itself when it leaves us with the portable fallback.
 */
async function buildNative(node, env) {
  if (!existsSync(NATIVE_BUILD)) return;
  const result = await runQuietly(node, [NATIVE_BUILD], env);
  if (result.ok) process.stderr.write(result.output);
  else {
    const [reason = "no output"] = result.output.trim().split("\n").slice(-1);
    process.stderr.write(`Native part not built, the portable fallback is used: ${reason}\n`);
  }
}

/** Becomes the child as far as a parent can tell (I2). */
function become(node, args, env) {
  const child = spawn(node, args, { cwd: ROOT, env, stdio: "inherit" });
  // A terminal sends Ctrl-C to the whole process group, so the child has it already; sending it a
  // second time would read as "stop at once". Without a terminal nobody else delivers it.
  process.on("SIGINT", () => process.stdin.isTTY || child.kill("SIGINT"));
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
    // Reached only for signals that do not end a Node process; the shell's convention then.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}

async function main() {
  checkPlatform();
  const { command, nodeMajor, rest } = parseArguments(process.argv.slice(2));
  await install(nodeMajor);
  const node = nodeBinary(nodeMajor);
  // Whatever the command starts by name (`node`, `vitest`…) is the installed one as well.
  const path = [dirname(node), join(ROOT, "node_modules", ".bin"), process.env.PATH ?? ""];
  const env = { ...process.env, PATH: path.join(delimiter) };
  await buildNative(node, env);
  become(node, [...COMMANDS[command], ...rest], env);
}

main().catch((error) => {
  if (!(error instanceof BootstrapError)) throw error;
  process.stderr.write(`error[${error.code}]: ${error.message}\n`);
  process.exitCode = 1;
});
