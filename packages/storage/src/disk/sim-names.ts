/**
 * Which names exist in a simulated file system, as a process sees them and as the platter has them.
 *
 * I1 a creation, rename or removal is durable once every folder it touches has been synced after it.
 * I2 at a crash the changes that are not durable survive independently of each other, except that changes which share a
 *    name keep their order: of such a chain a prefix survives. So a rename is whole or not at all.
 * I3 folders themselves are durable at once (`Disk.mkdir` says so).
 */
import { posix } from "node:path";
import { systemError } from "./disk-error.ts";
import type { SimFileImage, SurvivalPlan } from "./sim-file-image.ts";

interface NameChange {
  readonly kind: "create" | "remove" | "rename";
  /** The names it touches: one, or for a rename from and to. */
  readonly paths: readonly [string] | readonly [string, string];
  readonly file: SimFileImage | undefined;
  /** Folders that have to be synced still. */
  readonly unsynced: Set<string>;
}

export const normalPath = (path: string): string => posix.normalize(path).replace(/(?<=.)\/$/, "");

export class SimNames {
  readonly #files = new Map<string, SimFileImage>();
  readonly #durable = new Map<string, SimFileImage>();
  readonly #dirs = new Set<string>(["/", "."]);
  #pending: NameChange[] = [];

  /** @param path normalised, here and below */
  find(path: string): SimFileImage | undefined {
    return this.#files.get(path);
  }

  get(path: string, doing: string): SimFileImage {
    const file = this.#files.get(path);
    if (!file) throw systemError("ENOENT", doing, path);
    return file;
  }

  /** Every file with its path, in order of path. */
  all(): [string, SimFileImage][] {
    return [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  list(dir: string): string[] {
    const names = new Set<string>();
    for (const path of this.#files.keys())
      if (posix.dirname(path) === dir) names.add(posix.basename(path));
    for (const path of this.#dirs) {
      if (path !== "/" && path !== "." && posix.dirname(path) === dir)
        names.add(posix.basename(path));
    }
    return [...names].sort();
  }

  mkdir(dir: string): void {
    for (let path = dir; !this.#dirs.has(path); path = posix.dirname(path)) {
      if (this.#files.has(path)) throw systemError("EEXIST", "mkdir", path);
      this.#dirs.add(path);
    }
  }

  create(path: string, file: SimFileImage): void {
    this.#needDir(path, "create");
    if (this.#files.has(path) || this.#dirs.has(path)) throw systemError("EEXIST", "create", path);
    this.#change({ kind: "create", paths: [path], file, unsynced: new Set([posix.dirname(path)]) });
  }

  remove(path: string): void {
    if (!this.#files.has(path)) return;
    this.#change({
      kind: "remove",
      paths: [path],
      file: undefined,
      unsynced: new Set([posix.dirname(path)]),
    });
  }

  rename(from: string, to: string): void {
    const file = this.get(from, "rename");
    this.#needDir(to, "rename");
    const unsynced = new Set([posix.dirname(from), posix.dirname(to)]);
    this.#change({ kind: "rename", paths: [from, to], file, unsynced });
  }

  syncDir(dir: string): void {
    if (!this.#dirs.has(dir)) throw systemError("ENOENT", "sync", dir);
    for (const change of this.#pending) change.unsynced.delete(dir);
    // A change that is durable makes those before it on the same names durable too (I2).
    const names = new Set<string>();
    const durable = new Set<NameChange>();
    for (const change of this.#pending.toReversed()) {
      if (change.unsynced.size > 0 && !change.paths.some((path) => names.has(path))) continue;
      durable.add(change);
      for (const path of change.paths) names.add(path);
    }
    for (const change of this.#pending) if (durable.has(change)) apply(this.#durable, change);
    this.#pending = this.#pending.filter((change) => !durable.has(change));
  }

  /**
   * Everything as it is, unsynced changes still unsynced: what another process finds after this one was killed.
   * @param edit sees each file's copy once, before anything else is done with it.
   */
  copy(edit: (file: SimFileImage, copy: SimFileImage) => void): SimNames {
    const files = new Map<SimFileImage, SimFileImage>();
    const copyOf = (file: SimFileImage): SimFileImage => {
      let copy = files.get(file);
      if (!copy) {
        files.set(file, (copy = file.copy()));
        edit(file, copy);
      }
      return copy;
    };
    const names = new SimNames();
    for (const dir of this.#dirs) names.#dirs.add(dir);
    for (const [path, file] of this.#files) names.#files.set(path, copyOf(file));
    for (const [path, file] of this.#durable) names.#durable.set(path, copyOf(file));
    names.#pending = this.#pending.map((change) => ({
      ...change,
      file: change.file && copyOf(change.file),
      unsynced: new Set(change.unsynced),
    }));
    return names;
  }

  /** What a power cut leaves (I2). */
  afterCrash(plan: SurvivalPlan): SimNames {
    const survivors = new Map(this.#durable);
    const lostNames = new Set<string>();
    for (const change of this.#pending) {
      const lost = change.paths.some((path) => lostNames.has(path)) || !plan.rng.chance(plan.rate);
      if (lost) for (const path of change.paths) lostNames.add(path);
      else apply(survivors, change);
    }
    const names = new SimNames();
    for (const dir of this.#dirs) names.#dirs.add(dir);
    for (const [path, file] of survivors) {
      const image = file.afterCrash(plan);
      names.#files.set(path, image);
      names.#durable.set(path, image);
    }
    return names;
  }

  #needDir(path: string, doing: string): void {
    if (!this.#dirs.has(posix.dirname(path))) throw systemError("ENOENT", doing, path);
  }

  #change(change: NameChange): void {
    apply(this.#files, change);
    this.#pending.push(change);
  }
}

function apply(names: Map<string, SimFileImage>, change: NameChange): void {
  const [from, to] = change.paths;
  if (change.kind === "create") names.set(from, change.file as SimFileImage);
  else names.delete(from);
  if (change.kind === "rename") names.set(to as string, change.file as SimFileImage);
}
