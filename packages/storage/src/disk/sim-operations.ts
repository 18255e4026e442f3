/**
 * What every simulated device does around an operation: order, delay, the hook a test cuts at, injected errors, and the
 * silence after the power is gone. `SimDisk` and `SimKv` both run on it, so one seed and one hook reach both.
 *
 * I1 operations of one queue take effect in the order they were issued.
 * I2 after `halt` nothing takes effect and nothing settles any more: a dead process does not see its errors.
 */
import type { Clock, Rng } from "@pinion/core";
import { systemError, type SimErrno } from "./disk-error.ts";

export type SimOperationKind =
  | "create"
  | "open"
  | "list"
  | "mkdir"
  | "rename"
  | "remove"
  | "syncDir"
  | "freeBytes"
  | "write"
  | "sync"
  | "read"
  | "size"
  | "close"
  | "get"
  | "range"
  | "commit";

export interface SimOperation {
  /** Counts from 1 over the whole device. */
  readonly index: number;
  readonly kind: SimOperationKind;
  /** The file or folder; the name of the store for a `SimKv`. */
  readonly path: string;
  /** Bytes written or read. */
  readonly bytes: number;
}

/** Makes the `nth` (from 1, default 1) matching operation from now on fail, and the `times − 1` matching ones after it. */
export interface SimFaultRule {
  readonly kind: SimOperationKind;
  readonly path?: string | RegExp;
  readonly nth?: number;
  /** Default 1; Infinity for "from then on". */
  readonly times?: number;
  readonly error: "EIO" | "ENOSPC" | "EROFS";
}

export interface SimOptions {
  readonly rng: Rng;
  /** With `latencyMs`: operations take that long on this clock. Without, they end in a later microtask. */
  readonly clock?: Clock;
  readonly latencyMs?: number | ((operation: Omit<SimOperation, "index">) => number);
  /** Called just before an operation takes effect: the place to cut the power. May be replaced at any time. */
  readonly onOperation?: ((operation: SimOperation) => void) | undefined;
  /** Chance of EIO by kind of operation. */
  readonly errorRates?: Partial<Record<SimOperationKind, number>>;
}

interface ArmedRule {
  readonly rule: SimFaultRule;
  seen: number;
}

const never = <T>(): Promise<T> => new Promise<T>(() => {});

export class SimOperations {
  onOperation: ((operation: SimOperation) => void) | undefined;
  errorRates: Partial<Record<SimOperationKind, number>>;
  readonly #rng: Rng;
  readonly #clock: Clock | undefined;
  readonly #latencyMs: SimOptions["latencyMs"];
  #rules: ArmedRule[] = [];
  #count = 0;
  #halted = false;

  constructor(options: SimOptions) {
    this.#rng = options.rng.fork("faults");
    this.#clock = options.clock;
    this.#latencyMs = options.latencyMs;
    this.onOperation = options.onOperation;
    this.errorRates = options.errorRates ?? {};
  }

  /** Operations that have taken effect or failed. */
  get count(): number {
    return this.#count;
  }

  get halted(): boolean {
    return this.#halted;
  }

  halt(): void {
    this.#halted = true;
  }

  /** @returns takes the rule away again. */
  fail(rule: SimFaultRule): () => void {
    const armed = { rule, seen: 0 };
    this.#rules.push(armed);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== armed);
    };
  }

  clearFaults(): void {
    this.#rules = [];
    this.errorRates = {};
  }

  /** One queue: a file's operations, or a folder tree's. */
  queue(): SimQueue {
    return new SimQueue(this);
  }

  /** Waits its latency, then counts the operation, lets the hook see it, and throws if it is to fail. */
  async begin(kind: SimOperationKind, path: string, bytes: number): Promise<void> {
    const operation = { kind, path, bytes };
    const wait =
      typeof this.#latencyMs === "function" ? this.#latencyMs(operation) : (this.#latencyMs ?? 0);
    const clock = this.#clock;
    if (clock && wait > 0) await new Promise<void>((resolve) => clock.setTimer(wait, resolve));
    else await Promise.resolve();
    if (this.#halted) return never();
    const index = ++this.#count;
    this.onOperation?.({ index, ...operation });
    if (this.#halted) return never();
    this.#throwIfFaulty(kind, path);
  }

  /** Gives an outcome to the caller, unless the power went while it took effect. */
  settle<T>(outcome: Promise<T>): Promise<T> {
    return outcome.then(
      (value) => (this.#halted ? never<T>() : value),
      (error: unknown) => {
        if (this.#halted) return never<T>();
        throw error;
      },
    );
  }

  #throwIfFaulty(kind: SimOperationKind, path: string): void {
    let error: SimErrno | undefined;
    for (const armed of this.#rules) {
      const { rule } = armed;
      if (rule.kind !== kind || !matches(rule.path, path)) continue;
      const nth = rule.nth ?? 1;
      armed.seen++;
      if (armed.seen >= nth && armed.seen < nth + (rule.times ?? 1)) error ??= rule.error;
    }
    const rate = this.errorRates[kind] ?? 0;
    if (rate > 0 && this.#rng.chance(rate)) error ??= "EIO";
    if (error) throw systemError(error, kind, path);
  }
}

function matches(pattern: string | RegExp | undefined, path: string): boolean {
  return (
    pattern === undefined ||
    (typeof pattern === "string" ? path.includes(pattern) : pattern.test(path))
  );
}

export class SimQueue {
  readonly #operations: SimOperations;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(operations: SimOperations) {
    this.#operations = operations;
  }

  /** Runs `steps` once everything issued before has ended (I1). */
  run<T>(steps: () => Promise<T>): Promise<T> {
    const outcome = this.#tail.then(steps);
    this.#tail = outcome.catch(() => {});
    return this.#operations.settle(outcome);
  }
}
