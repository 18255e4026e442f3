/** The guest's first file system: Node, the modules that its program loads, the addon, and a first process. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CpioArchive } from "./archive.ts";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "../..");
const PLAIN_TYPES = join(HERE, "plain-types.mjs");
const NATIVE = join(ROOT, "packages/storage/native");

export interface GuestProgram {
  /** What Node runs in the guest. */
  readonly start: string;
  /** Run here first, to see what is loaded. */
  readonly trace: string;
  /** Kernel modules, in the order in which they are loaded. */
  readonly kernelModules: readonly string[];
}

/** Everything keeps its path, so that modules find each other as they do here. @returns its size */
export function writeInitramfs(path: string, workDir: string, program: GuestProgram): number {
  const fd = openSync(path, "w");
  try {
    const archive = new CpioArchive(fd);
    const files = tracedFiles(program.trace, workDir);
    const add = (file: string): void => archive.file(file, contentOf(file));
    for (const file of files) add(file);
    for (const file of manifestsOf(files)) add(file);
    for (const name of readdirSync(NATIVE)) if (/\.[ch]$/.test(name)) add(join(NATIVE, name));
    for (const [from, to] of linksOf(files)) archive.link(from, to);
    for (const file of [program.start, PLAIN_TYPES]) add(file);
    for (const [i, file] of program.kernelModules.entries())
      archive.file(`/modules/${i}-${basename(file)}`, readFileSync(file));
    archive.file("/bin/node", stripped(realpathSync(process.execPath), workDir));
    archive.file("/init", compiledInit(workDir, program.start));
    archive.end();
    return archive.byteCount;
  } finally {
    closeSync(fd);
  }
}

function tracedFiles(program: string, workDir: string): string[] {
  const list = join(workDir, "traced-files");
  const hook = join(HERE, "trace-modules.mjs");
  const env = { ...process.env, PINION_TRACE: list };
  const args = ["--import", hook, "--conditions=source", program];
  execFileSync(process.execPath, args, { cwd: ROOT, env, stdio: ["ignore", "ignore", "inherit"] });
  const files = new Set(readFileSync(list, "utf8").trim().split("\n"));
  files.delete(hook);
  return [...files].sort();
}

function contentOf(file: string): Uint8Array {
  const content = readFileSync(file);
  return file.endsWith(".ts") ? Buffer.from(stripTypeScriptTypes(content.toString())) : content;
}

/** The package.json files above: they say what is a module, and what a package's name stands for. */
function manifestsOf(files: readonly string[]): Set<string> {
  const found = new Set<string>();
  const seen = new Set<string>();
  for (const file of files) {
    for (let dir = dirname(file); dir !== "/" && !seen.has(dir); dir = dirname(dir)) {
      seen.add(dir);
      const manifest = join(dir, "package.json");
      if (existsSync(manifest) && !files.includes(manifest)) found.add(manifest);
    }
  }
  return found;
}

/** Symbolic links: packages in node_modules, the names libraries are looked up by, and folders that are one folder on some systems. */
function linksOf(files: readonly string[]): Map<string, string> {
  const links = new Map<string, string>();
  const seen = new Set<string>();
  const addLinksIn = (dir: string, wanted: (name: string, path: string) => boolean): void => {
    if (seen.has(dir) || !existsSync(dir)) return;
    seen.add(dir);
    for (const name of readdirSync(dir)) {
      const path = join(dir, name);
      if (name.startsWith("@")) addLinksIn(path, wanted);
      else if (lstatSync(path).isSymbolicLink() && wanted(name, path))
        links.set(path, readlinkSync(path));
    }
  };
  for (const file of files) {
    if (/\.so(\.|$)/.test(file))
      for (const name of readdirSync(dirname(file))) {
        const path = join(dirname(file), name);
        if (name !== basename(file) && name.startsWith("lib") && resolvesTo(path, file))
          links.set(path, basename(file));
      }
    for (let dir = dirname(file); dir.length >= ROOT.length; dir = dirname(dir)) {
      addLinksIn(join(dir, "node_modules"), () => true);
      if (basename(dir) === "node_modules") addLinksIn(dir, () => true);
    }
  }
  for (const folder of ["/lib", "/lib64"])
    if (existsSync(folder) && lstatSync(folder).isSymbolicLink())
      links.set(folder, readlinkSync(folder));
  // Where programs say their loader is.
  const loader = "/lib64/ld-linux-x86-64.so.2";
  const real = realpathSync(loader);
  if (realpathSync("/lib64") + "/ld-linux-x86-64.so.2" !== real)
    links.set(join(realpathSync("/lib64"), "ld-linux-x86-64.so.2"), real);
  return links;
}

function resolvesTo(path: string, file: string): boolean {
  return lstatSync(path).isSymbolicLink() && existsSync(path) && realpathSync(path) === file;
}

/** A third of the file is names for debuggers. */
function stripped(program: string, workDir: string): Uint8Array {
  const target = join(workDir, "node-stripped");
  try {
    execFileSync("strip", ["-o", target, program], { stdio: "ignore" });
    return readFileSync(target);
  } catch {
    return readFileSync(program);
  } finally {
    rmSync(target, { force: true });
  }
}

function compiledInit(workDir: string, start: string): Uint8Array {
  const target = join(workDir, "init");
  const defined = [`-DSTART="${start}"`, `-DPLAIN_TYPES="${PLAIN_TYPES}"`];
  const source = join(HERE, "init.c");
  execFileSync(process.env["CC"] ?? "cc", ["-O1", ...defined, source, "-o", target]);
  return readFileSync(target);
}
