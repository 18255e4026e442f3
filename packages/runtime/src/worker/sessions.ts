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
  /** Clients that have changed something: their retries must be told from new calls. */
  readonly #sessions = new Map<string, KnownSession>();
  /** Clients that have not, oldest first. Forgetting one costs nothing. */
  readonly #newcomers = new Map<string, KnownSession>();

  /** @param max sessions of clients kept at once, of each kind */
  constructor(clock: Clock, expiryMs: number, max: number) {
    this.#clock = clock;
    this.#expiryMs = expiryMs;
    this.#max = max;
  }

  get size(): number {
    return this.#sessions.size + this.#newcomers.size;
  }

  /**
   * The session of a call that is in the log already: not bounded here. Ids that start with "@" are the runtime's own: they
   * acknowledge nothing and are not kept.
   */
  get(id: string): Session {
    if (id.startsWith("@")) return { id, ackedBelow: 0 };
    let session = this.#sessions.get(id);
    if (session === undefined) {
      session = this.#newcomers.get(id) ?? new KnownSession(id, this.#clock.nowMs());
      this.#newcomers.delete(id);
      this.#sessions.set(id, session);
    }
    return session;
  }

  /** For a client that connects. Makes room among those that have changed nothing. */
  admit(id: string): Session {
    if (id.startsWith("@")) return this.get(id);
    const known = this.#sessions.get(id) ?? this.#newcomers.get(id);
    if (known !== undefined) return known;
    if (this.#newcomers.size >= this.#max) {
      for (const oldest of this.#newcomers.keys()) {
        this.#newcomers.delete(oldest);
        break;
      }
    }
    const session = new KnownSession(id, this.#clock.nowMs());
    this.#newcomers.set(id, session);
    return session;
  }

  /**
   * A call of this session is about to change something. None is forgotten to make room for it: a late duplicate of a call whose
   * answer was acknowledged would run again.
   * @throws `overloaded`
   */
  changing(session: Session): void {
    if (!(session instanceof KnownSession) || this.#sessions.has(session.id)) return;
    if (this.#sessions.size >= this.#max) {
      throw new PinionError(
        "overloaded",
        `this worker knows ${this.#sessions.size} client processes (sessionsMax: ${this.#max}); those that are silent are forgotten after a while`,
        { retryAfterMs: 1_000, details: { sessionsMax: this.#max } },
      );
    }
    this.#newcomers.delete(session.id);
    this.#sessions.set(session.id, session);
  }

  ackedBelow(id: string): number {
    return (this.#sessions.get(id) ?? this.#newcomers.get(id))?.ackedBelow ?? 0;
  }

  touch(session: Session): void {
    if (session instanceof KnownSession) session.lastSeenMs = this.#clock.nowMs();
  }

  /** Forgets sessions whose client has not been heard of. One that still acknowledges is alive. */
  expire(): void {
    const nowMs = this.#clock.nowMs();
    for (const sessions of [this.#sessions, this.#newcomers]) {
      for (const [id, session] of sessions) {
        if (nowMs - session.lastSeenMs > this.#expiryMs * 2) sessions.delete(id);
      }
    }
  }
}
