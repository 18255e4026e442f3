/**
 * Watches the workers' event loops from another thread, through their turn boards. Pure but for the clock: what to do about a
 * blocked worker is its owner's business (control-plane.ts names it, module-host.ts replaces it).
 *
 * H1 a worker is blocked once its loop has not turned for `BLOCKED_MS`; it is told once, and once more when it turns again.
 * H2 our own pauses count for nothing: after a late check every worker gets its full time anew.
 */
import type { Clock, Timer } from "@pinion/core";
import { TurnBoardReader, type BoardTurn } from "./turn-board.ts";

/** How often the boards are looked at. */
export const CHECK_MS = 250;
/** Silence after which a worker counts as blocked. */
export const BLOCKED_MS = 2_000;
/** A check that comes this late says that this thread, or the machine, was paused. */
const OWN_PAUSE_MS = 1_000;

export interface BlockedState {
  /** How long the loop has not turned, ms. */
  readonly forMs: number;
  /** Where it stands; undefined when it is in no turn. */
  readonly turn: BoardTurn | undefined;
}

export interface HeartbeatListener {
  onBlocked(worker: number, state: BlockedState): void;
  onUnblocked(worker: number, blockedMs: number): void;
  /** At every check while it is blocked. */
  onStillBlocked(worker: number, state: BlockedState): void;
}

interface Watched {
  readonly reader: TurnBoardReader;
  beats: number;
  changedAtMs: number;
  blocked: boolean;
}

export class HeartbeatWatch {
  readonly #clock: Clock;
  readonly #listener: HeartbeatListener;
  readonly #workers = new Map<number, Watched>();
  #timer: Timer | undefined;
  #lastCheckMs: number;

  constructor(clock: Clock, listener: HeartbeatListener) {
    this.#clock = clock;
    this.#listener = listener;
    this.#lastCheckMs = clock.nowMs();
  }

  start(): void {
    this.#lastCheckMs = this.#clock.nowMs();
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Watches a worker from now on; a new board replaces the old one's. */
  watch(worker: number, board: SharedArrayBuffer): void {
    const reader = new TurnBoardReader(board);
    this.#workers.set(worker, {
      reader,
      beats: reader.beats,
      changedAtMs: this.#clock.nowMs(),
      blocked: false,
    });
  }

  forget(worker: number): void {
    this.#workers.delete(worker);
  }

  /** Undefined while its loop turns. */
  blocked(worker: number): BlockedState | undefined {
    const watched = this.#workers.get(worker);
    return watched?.blocked === true ? this.#stateOf(watched) : undefined;
  }

  /** Ms since the worker's loop was last seen to turn. */
  silenceMs(worker: number): number {
    const watched = this.#workers.get(worker);
    return watched === undefined ? 0 : this.#clock.nowMs() - watched.changedAtMs;
  }

  #stateOf(watched: Watched): BlockedState {
    return {
      forMs: Math.round(this.#clock.nowMs() - watched.changedAtMs),
      turn: watched.reader.current(),
    };
  }

  #arm(): void {
    this.#timer = this.#clock.setTimer(CHECK_MS, () => {
      this.#check();
      this.#arm();
    });
  }

  #check(): void {
    const nowMs = this.#clock.nowMs();
    const paused = nowMs - this.#lastCheckMs > OWN_PAUSE_MS; // H2
    this.#lastCheckMs = nowMs;
    for (const [worker, watched] of [...this.#workers]) {
      const { beats } = watched.reader;
      if (beats !== watched.beats) {
        const silentMs = nowMs - watched.changedAtMs;
        watched.beats = beats;
        watched.changedAtMs = nowMs;
        if (!watched.blocked) continue;
        watched.blocked = false;
        this.#listener.onUnblocked(worker, Math.round(silentMs));
      } else if (paused) watched.changedAtMs = nowMs;
      else if (nowMs - watched.changedAtMs >= BLOCKED_MS) this.#stillSilent(worker, watched);
    }
  }

  #stillSilent(worker: number, watched: Watched): void {
    const state = this.#stateOf(watched);
    if (watched.blocked) this.#listener.onStillBlocked(worker, state);
    else {
      watched.blocked = true;
      this.#listener.onBlocked(worker, state);
    }
  }
}
