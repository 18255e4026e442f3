/**
 * Calls that have blocked a worker's event loop until it was replaced, and how often: the second time they are quarantined,
 * because every retry would take the worker down again.
 *
 * Q1 a call is counted before its worker is replaced: a crash in between counts nothing twice and forgets nothing.
 * Q2 at most `KEPT_MAX` are remembered, the newest; and none for longer than `KEPT_MS`, when no client retries any more.
 * Q3 a file that cannot be read costs the memory of past culprits, not the host: it is set aside and said.
 */
import { formatActorId, isPinionError, type Clock } from "@pinion/core";
import type { DurableCell } from "@pinion/placement";
import { parseActorKey } from "../records/actor-key.ts";
import { callKeyText, hookKeyText } from "../records/call-key.ts";
import type { BoardTurn } from "./turn-board.ts";

export const KEPT_MAX = 1_000;
export const KEPT_MS = 7 * 24 * 60 * 60_000;
/** Times a call may block the loop before it is refused for good. */
export const STRIKES = 2;

export interface BlockedCall {
  /** As in `WorkerOptions.poisoned`. */
  readonly key: string;
  readonly actor: string;
  readonly method: string;
  readonly times: number;
  /** Ms since the epoch of the last time. */
  readonly lastMs: number;
}

export class BlockedCalls {
  readonly #cell: DurableCell;
  readonly #clock: Clock;
  /** Oldest first. */
  #calls = new Map<string, BlockedCall>();

  private constructor(cell: DurableCell, clock: Clock, calls: readonly BlockedCall[]) {
    this.#cell = cell;
    this.#clock = clock;
    for (const call of calls) this.#calls.set(call.key, call);
  }

  /** @param warn told when the file could not be read (Q3). @throws errors of the disk */
  static async open(
    cell: DurableCell,
    clock: Clock,
    warn: (error: unknown) => void,
  ): Promise<BlockedCalls> {
    let calls: BlockedCall[] = [];
    try {
      const bytes = await cell.load();
      if (bytes !== undefined) calls = parseCalls(bytes);
    } catch (error) {
      if (!isPinionError(error, "corruption") && !(error instanceof SyntaxError)) throw error;
      warn(error);
    }
    const sinceMs = clock.wallMs() - KEPT_MS;
    return new BlockedCalls(
      cell,
      clock,
      calls.filter((call) => call.lastMs >= sinceMs),
    );
  }

  /** Counts one more time; durable when this resolves. */
  async count(turn: BoardTurn): Promise<BlockedCall> {
    const key = keyOf(turn);
    const times = (this.#calls.get(key)?.times ?? 0) + 1;
    const call = {
      key,
      actor: turn.actor,
      method: turn.method,
      times,
      lastMs: this.#clock.wallMs(),
    };
    this.#calls.delete(key);
    this.#calls.set(key, call);
    for (const oldest of this.#calls.keys()) {
      if (this.#calls.size <= KEPT_MAX) break;
      this.#calls.delete(oldest);
    }
    await this.#cell.store(Buffer.from(`${JSON.stringify(this.all(), undefined, 1)}\n`));
    return call;
  }

  all(): readonly BlockedCall[] {
    return [...this.#calls.values()];
  }

  /** Those that may not run again. */
  quarantined(): readonly BlockedCall[] {
    return this.all().filter((call) => call.times >= STRIKES);
  }

  poisonedKeys(): ReadonlySet<string> {
    return new Set(this.quarantined().map((call) => call.key));
  }
}

export const keyOf = (turn: BoardTurn): string =>
  turn.call === undefined ? hookKeyText(turn.actor, turn.method) : callKeyText(turn.call);

/** @throws SyntaxError */
function parseCalls(bytes: Uint8Array): BlockedCall[] {
  const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
  if (!Array.isArray(value)) throw new SyntaxError("not a list");
  return value.filter(
    (item: Partial<BlockedCall> | null): item is BlockedCall =>
      typeof item?.key === "string" &&
      typeof item.actor === "string" &&
      typeof item.method === "string" &&
      typeof item.times === "number" &&
      typeof item.lastMs === "number",
  );
}

/** The text form of an actor key. One that was cut short on the board is shown as it is. */
export function actorText(actor: string): string {
  try {
    return formatActorId(parseActorKey(actor));
  } catch {
    return actor;
  }
}
