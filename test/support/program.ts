/**
 * Programs of the repository as processes of their own: run to the end, or started and followed line by line.
 *
 * I1 nothing outlives the test: `await using` ends a program; it stays in the test runner's process group, so that whoever
 *    ends the runner ends it, too. What a program starts ends with it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";

export const ROOT = join(import.meta.dirname, "..", "..");
/** Packages resolve to their sources: nothing has to be built. */
export const SOURCES: readonly string[] = ["--conditions=source"];
/** A hang shows as this test's failure, not as the suite's. */
const RUN_MS_MAX = 100_000;
const LINE_MS_MAX = 30_000;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  /** Gives the program a standard input to write to. */
  readonly input?: boolean;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What starts it, the command's words: limits it before it becomes the program. */
  readonly under?: readonly string[];
  /** Flags of Node; by default packages resolve to their sources. */
  readonly flags?: readonly string[];
}

/** Runs a TypeScript program of the repository to its end. @param file relative to the repository, or absolute */
export async function runProgram(
  file: string,
  args: readonly string[] = [],
  options: ProgramOptions = {},
): Promise<Ended> {
  await using program = new Program(file, args, options);
  return await program.ended(RUN_MS_MAX);
}

export const runCommand = (args: readonly string[], options?: ProgramOptions): Promise<Ended> =>
  runProgram("packages/cli/src/main.ts", args, options);

export class Program implements AsyncDisposable {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly #exited: Promise<unknown>;
  #onOutput: () => void = () => {};

  constructor(
    file: string,
    args: readonly string[],
    { cwd = ROOT, env = {}, input = false, under = [], flags = SOURCES }: ProgramOptions = {},
  ) {
    const bare = {
      PATH: process.env["PATH"] ?? "",
      HOME: process.env["HOME"] ?? "",
      NO_COLOR: "1",
    };
    const node = [process.execPath, ...flags, resolve(ROOT, file)];
    const [command, ...words] = [...under, ...node, ...args];
    this.child = spawn(command as string, words, {
      cwd,
      env: { ...bare, ...env },
      stdio: [input ? "pipe" : "ignore", "pipe", "pipe"],
    });
    this.#exited = once(this.child, "close");
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      this.#onOutput();
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
      this.#onOutput();
    });
  }

  async ended(msMax = LINE_MS_MAX): Promise<Ended> {
    await this.#within(this.#exited, msMax, "did not end");
    return { code: this.child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  /** Resolves with the first match in what the program has printed or will print, from `from` characters on. */
  async printed(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    const { promise, resolve } = Promise.withResolvers<RegExpExecArray>();
    const look = (): void => {
      const match = pattern.exec((this.stdout + this.stderr).slice(from));
      if (match !== null) resolve(match);
    };
    this.#onOutput = look;
    look();
    const early = this.#exited.then(() => {
      throw new Error(`ended before it printed ${pattern}`);
    });
    return this.#within(Promise.race([promise, early]), LINE_MS_MAX, `did not print ${pattern}`);
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode } = this.child;
    if (exitCode !== null || signalCode !== null) return;
    this.child.kill("SIGKILL");
    await this.#exited;
  }

  async #within<T>(promise: Promise<T>, msMax: number, what: string): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const fail = (why: string): void =>
      reject(
        new Error(`${this.child.spawnargs.join(" ")}: ${why}\n${this.stdout}\n${this.stderr}`),
      );
    const timer = setTimeout(() => fail(`${what} within ${msMax} ms`), msMax);
    try {
      return await Promise.race([promise.catch((e: Error) => fail(e.message) as never), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
