/**
 * Sessions of client processes as this worker knows them. Shared by a client's streams, so that what it acknowledges on one counts
 * for all; forgotten after the same silence as their dedupe windows.
 */
import { PinionError, type Clock } from "@pinion/core";
import type { Session } from "../gateway/dispatcher.ts";

class KnownSession implements Session {
  readonly id: string;
  ackedBelow = 0;
  lastSeenMs: number;

  constructor(id: string, nowMs: number) {
    this.id = id;
    this.lastSeenMs = nowMs;
  }
}

export class Sessions {
  readonly #clock: Clock;
  readonly #expiryMs: number;
  readonly #max: number;
  readonly #sessions = new Map<string, KnownSession>();

  /** @param max sessions of clients kept at once */
  constructor(clock: Clock, expiryMs: number, max: number) {
    this.#clock = clock;
    this.#expiryMs = expiryMs;
    this.#max = max;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Ids that start with "@" are the runtime's own: they acknowledge nothing and are not kept. */
  get(id: string): Session {
    if (id.startsWith("@")) return { id, ackedBelow: 0 };
    let session = this.#sessions.get(id);
    if (session === undefined) {
      session = new KnownSession(id, this.#clock.nowMs());
      this.#sessions.set(id, session);
    }
    return session;
  }

  /**
   * As `get`, for a client that connects. None is forgotten to make room: its retries would run again.
   * @throws `overloaded`
   */
  admit(id: string): Session {
    if (this.#sessions.size >= this.#max && !this.#sessions.has(id)) {
      throw new PinionError(
        "overloaded",
        `this worker knows ${this.#max} client processes (sessionsMax); those that are silent are forgotten after a while`,
        { retryAfterMs: 1_000, details: { sessionsMax: this.#max } },
      );
    }
    return this.get(id);
  }

  ackedBelow(id: string): number {
    return this.#sessions.get(id)?.ackedBelow ?? 0;
  }

  touch(session: Session): void {
    if (session instanceof KnownSession) session.lastSeenMs = this.#clock.nowMs();
  }

  /** Forgets sessions whose client has not been heard of. One that still acknowledges is alive. */
  expire(): void {
    const nowMs = this.#clock.nowMs();
    for (const [id, session] of this.#sessions) {
      if (nowMs - session.lastSeenMs > this.#expiryMs * 2) this.#sessions.delete(id);
    }
  }
}
