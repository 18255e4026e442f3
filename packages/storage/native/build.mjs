/**
 * Builds the addon with the machine's own C compiler: no Python, no node-gyp, about a second. Plain Node built-ins, so that
 * it runs on a bare machine before anything else does.
 *
 * Prints nothing when the addon is already there. Without a compiler, or on a system the addon is not for, it says in one
 * line that the portable fallback will be used, and succeeds.
 *
 * With `--asan` it builds the same with the address sanitiser into a folder of its own; with-asan.mjs does, and runs a program on it.
 *
 * The file's name carries a hash of all sources (the first line of pinion.c holds the compiler flags), which is how the loader
 * (src/memory/open-native-door.ts) finds the one that fits. It appears by a rename, so that builds may run at once.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "pinion.c");
const asan = process.argv.includes("--asan");
const outDir = join(here, "build", asan ? "asan" : "");
const ASAN_FLAGS = ["-fsanitize=address", "-fno-omit-frame-pointer", "-O1", "-g"];

const sources = readdirSync(here)
  .filter((name) => /\.[ch]$/.test(name))
  .sort();
const hash = createHash("sha256");
for (const name of sources) hash.update(readFileSync(join(here, name)));
const name = `pinion-${hash.digest("hex").slice(0, 16)}-${process.platform}-${process.arch}.node`;
const target = join(outDir, name);

/** Folder of node_api.h and uv.h: of the Node installed through npm, else of the one running. Any version's fit: the interface is stable. */
function headers() {
  const require = createRequire(import.meta.url);
  const candidates = [];
  for (const from of [here, process.cwd()]) {
    try {
      const at = require.resolve(`node-linux-${process.arch}/package.json`, { paths: [from] });
      candidates.push(join(dirname(at), "include", "node"));
    } catch {
      // not installed here
    }
  }
  candidates.push(join(dirname(process.execPath), "..", "include", "node"), "/usr/include/node");
  return candidates.find(
    (dir) => existsSync(join(dir, "node_api.h")) && existsSync(join(dir, "uv.h")),
  );
}

function fallback(why) {
  console.log(
    `pinion: ${why}; the portable fallback will be used (same results; slower disk writes, scans and blobs)`,
  );
}

function build() {
  if (process.platform !== "linux")
    return fallback(`the native part is for Linux, this is ${process.platform}`);
  const include = headers();
  if (!include) return fallback("no Node.js headers to build the native part with");
  const flags = /^\/\/ cflags: (.*)$/m.exec(readFileSync(source, "utf8"))[1].trim().split(/\s+/);
  if (asan) flags.push(...ASAN_FLAGS);
  mkdirSync(outDir, { recursive: true });
  const temporary = join(outDir, `.${name}.${process.pid}`);
  const compiler = process.env.CC ?? "cc";
  try {
    const files = sources.filter((name) => name.endsWith(".c")).map((name) => join(here, name));
    execFileSync(compiler, [...flags, `-I${include}`, ...files, "-o", temporary], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    renameSync(temporary, target);
  } catch (e) {
    rmSync(temporary, { force: true });
    if (e.code === "ENOENT") return fallback("no C compiler to build the native part with");
    const said = String(e.stderr ?? e.message)
      .split("\n")
      .find((line) => /error/i.test(line));
    return fallback(`the native part did not compile (${said ?? e.message})`);
  }
  for (const other of readdirSync(outDir)) {
    const old =
      other.endsWith(`-${process.platform}-${process.arch}.node`) && other.startsWith("pinion-");
    if (old && other !== name) rmSync(join(outDir, other), { force: true });
  }
}

if (!existsSync(target)) build();
