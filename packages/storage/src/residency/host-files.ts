/** Reads what the kernel tells in small files, below a root that tests replace. Whatever cannot be read is undefined: nothing throws. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export class HostFiles {
  readonly #root: string;

  /** @param root where `/proc` and `/sys` are found */
  constructor(root = "/") {
    this.#root = root;
  }

  text(path: string): string | undefined {
    try {
      return readFileSync(join(this.#root, path), "utf8");
    } catch {
      return undefined;
    }
  }

  /** A file with one whole number ≥ 0 in it. */
  number(path: string): number | undefined {
    return wholeNumber(this.text(path));
  }

  /** Names in a folder; none if there is no such folder. */
  names(path: string): string[] {
    try {
      return readdirSync(join(this.#root, path)).sort();
    } catch {
      return [];
    }
  }

  /** `MemTotal:  24683620 kB`, also after `Node 0 `, as bytes. */
  meminfo(path = "/proc/meminfo"): ReadonlyMap<string, number> {
    const values = new Map<string, number>();
    for (const line of this.text(path)?.split("\n") ?? []) {
      const [, key, kib] = /^(?:Node \d+ )?([\w()]+):\s+(\d+) kB$/.exec(line.trim()) ?? [];
      if (key !== undefined) values.set(key, Number(kib) * 1024);
    }
    return values;
  }
}

export function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\s*\d{1,20}\s*$/.test(text)) return undefined;
  return Number(text);
}
