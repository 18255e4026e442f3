/** Where a test host loses its power. */
import type { SimOperation, SimOperationKind } from "@pinion/storage";

/** `nth` counts from 1 (the default), from the moment the point is set. */
export type CrashPoint =
  /** Before the nth operation of the disk or the log's index takes effect, or, `after` it, before the one that follows. */
  | {
      readonly at: "operation";
      readonly nth?: number;
      readonly after?: boolean;
      /** Only operations of this kind … */
      readonly kind?: SimOperationKind;
      /** … and on such a path count. */
      readonly path?: string | RegExp;
    }
  /** The nth time a turn's record is in the log's buffer, and nowhere else. */
  | { readonly at: "append"; readonly nth?: number }
  /** The nth time something is committed: on disk, and before a reply says so. */
  | { readonly at: "commit"; readonly nth?: number };

export interface ArmedPoint {
  readonly point: CrashPoint;
  seen: number;
  readonly crash: () => void;
}

/** What stands in the way: armed points, looked at where they may be reached. */
export class CrashPoints {
  readonly #armed = new Set<ArmedPoint>();

  /** @param crash run once, when the point is reached */
  arm(point: CrashPoint, crash: () => void): void {
    const armed: ArmedPoint = {
      point,
      seen: 0,
      crash: () => {
        this.#armed.delete(armed);
        crash();
      },
    };
    this.#armed.add(armed);
  }

  clear(): void {
    this.#armed.clear();
  }

  /** An operation is about to take effect. */
  onOperation(operation: SimOperation): void {
    for (const armed of [...this.#armed]) {
      const { point } = armed;
      if (point.at !== "operation") continue;
      const nth = point.nth ?? 1;
      if (armed.seen >= nth) {
        armed.crash(); // the one after it
        continue;
      }
      if (!matches(point, operation)) continue;
      if (++armed.seen >= nth && point.after !== true) armed.crash();
    }
  }

  /** @returns whether a point was reached */
  on(at: "append" | "commit"): boolean {
    let reached = false;
    for (const armed of [...this.#armed]) {
      if (armed.point.at !== at || ++armed.seen < (armed.point.nth ?? 1)) continue;
      armed.crash();
      reached = true;
    }
    return reached;
  }
}

function matches(point: CrashPoint & { at: "operation" }, { kind, path }: SimOperation): boolean {
  if (point.kind !== undefined && point.kind !== kind) return false;
  if (point.path === undefined) return true;
  return typeof point.path === "string" ? path.includes(point.path) : point.path.test(path);
}
