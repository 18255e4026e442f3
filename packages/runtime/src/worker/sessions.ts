/**
 * Sessions of client processes as this worker knows them. Shared by a client's streams, so that what it acknowledges on one counts
 * for all; forgotten after the same silence as their dedupe windows.
 */
import type { Clock } from "@pinion/core";
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
  readonly #sessions = new Map<string, KnownSession>();

  constructor(clock: Clock, expiryMs: number) {
    this.#clock = clock;
    this.#expiryMs = expiryMs;
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
