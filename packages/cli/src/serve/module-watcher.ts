/**
 * Calls back when a file of a module has changed, for `pinion dev`.
 *
 * Folders are watched, not files, because editors replace files. What counts is the content: a save without a change, or a
 * touched date, is no change. After the first sign the disk is left alone for `SETTLE_MS`, since a save is several events and
 * a change of branch many.
 *
 * I1 a change is never missed: after each callback, and whenever it re-reads the graph, the watcher compares with what was
 *    there before it looked.
 * I2 one callback at a time; changes meanwhile lead to one more afterwards.
 */
import { watch, type FSWatcher } from "node:fs";
import { dirname } from "node:path";
import type { Clock, Timer } from "@pinion/core";
import { importGraph, type SourceFile } from "./import-graph.ts";

const SETTLE_MS = 60;

export class ModuleWatcher {
  readonly #entry: string;
  readonly #clock: Clock;
  /** Paths that have changed since the last callback. */
  readonly #onChange: (changed: readonly string[]) => Promise<void>;
  readonly #folders = new Map<string, FSWatcher>();
  #files: ReadonlyMap<string, SourceFile> = new Map();
  #settle: Timer | undefined;
  #work: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #lookCount = 0;

  constructor(
    entry: string,
    clock: Clock,
    onChange: (changed: readonly string[]) => Promise<void>,
  ) {
    this.#entry = entry;
    this.#clock = clock;
    this.#onChange = onChange;
  }

  get fileCount(): number {
    return this.#files.size;
  }

  /** How often events have settled, whether something had changed or not. */
  get lookCount(): number {
    return this.#lookCount;
  }

  async start(): Promise<void> {
    await this.#reread();
  }

  /** Resolves when no callback runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#settle?.cancel();
    for (const folder of this.#folders.values()) folder.close();
    this.#folders.clear();
    await this.#work;
  }

  /** Something happened in a watched folder. */
  #stir(): void {
    this.#settle?.cancel();
    this.#settle = this.#clock.setTimer(SETTLE_MS, () => this.#look());
  }

  #look(): void {
    this.#lookCount++;
    this.#again = true;
    this.#work ??= this.#lookUntilQuiet().finally(() => (this.#work = undefined));
  }

  async #lookUntilQuiet(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      const changed = await this.#reread();
      if (changed.length > 0 && !this.#stopped) await this.#onChange(changed); // I2
    }
  }

  /** Reads the module's files again and watches their folders. */
  async #reread(): Promise<string[]> {
    const before = this.#files;
    const after = await importGraph(this.#entry);
    this.#files = after;
    if (this.#watchFolders(new Set([...after.keys()].map(dirname)))) this.#stir(); // I1
    return [...after.keys()].filter(
      (path) => before.get(path)?.content !== after.get(path)?.content,
    );
  }

  /** @returns whether there is a folder that was not watched before */
  #watchFolders(wanted: ReadonlySet<string>): boolean {
    for (const [folder, watcher] of this.#folders) {
      if (wanted.has(folder)) continue;
      watcher.close();
      this.#folders.delete(folder);
    }
    let isNew = false;
    for (const folder of wanted) {
      if (this.#folders.has(folder) || this.#stopped) continue;
      try {
        const watcher = watch(folder, () => this.#stir());
        // The folder is gone: what is in it reads as changed.
        watcher.on("error", () => this.#stir());
        this.#folders.set(folder, watcher);
        isNew = true;
      } catch {
        // A folder that does not exist (yet): an import of it is a mistake that shows when the module is loaded.
      }
    }
    return isNew;
  }
}
