/**
 * The dedupe window of a shard: what makes every retry get the same reply and no call run twice (P12, P13; after RIFL,
 * Lee et al., SOSP 2015).
 *
 * | entry of | kept until |
 * |---|---|
 * | a client's call | the client says it has the reply (`ackedBelow`), or the session expires |
 * | a call made by a turn | the caller's turn has committed |
 * | a send | the sender has logged that it was delivered |
 * | a call with an idempotency key | the key's lifetime is over |
 *
 * I1 a call below its session's floor without an entry is `outcome-unknown`: it may have run, so it is never run again.
 * I2 a call of a session this shard does not know, first sent longer ago than sessions live, is `outcome-unknown` too.
 * I3 the bytes kept are bounded per session and per shard; beyond, new calls are refused as `overloaded`.
 */
import { SequenceMap } from "@pinion/core";
import type { IncomingCall } from "../gateway/dispatcher.ts";
import { callKeyText, type CallKey } from "../records/call-key.ts";
import type { CallEntry } from "./call-entry.ts";

export interface DedupeLimits {
  readonly sessionBytesMax: number;
  readonly shardBytesMax: number;
  /** Sessions silent for longer are forgotten. Longer than any client goes on retrying. */
  readonly sessionExpiryMs: number;
}

export interface SessionWindow {
  readonly id: string;
  readonly entries: SequenceMap<CallEntry>;
  /** Calls up to here are answered and forgotten. */
  floor: number;
  bytes: number;
  lastSeenMs: number;
}

export type Lookup =
  | { readonly found: "entry"; readonly entry: CallEntry }
  | { readonly found: "nothing" | "unknown" | "full" };

const NOTHING: Lookup = Object.freeze({ found: "nothing" });
const UNKNOWN: Lookup = Object.freeze({ found: "unknown" });
const FULL: Lookup = Object.freeze({ found: "full" });

export class DedupeWindow {
  readonly #limits: DedupeLimits;
  readonly #sessions = new Map<string, SessionWindow>();
  /** Entries that are not a client's own: sub-calls and sends by call key, idempotent calls by "!actor!key". */
  readonly #others = new Map<string, CallEntry>();
  #bytes = 0;

  constructor(limits: DedupeLimits) {
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    let n = this.#others.size;
    for (const s of this.#sessions.values()) n += s.entries.size;
    return n;
  }

  /** What is known of this call. `nothing` means it may run: `add` it. */
  lookup(call: IncomingCall, actor: string, wallMs: number): Lookup {
    if (call.idempotencyKey !== undefined) {
      const text = idempotencyText(actor, call.idempotencyKey);
      const kept = this.#others.get(text);
      if (kept !== undefined && isOver(kept, wallMs)) this.forgetOther(text);
      const known = this.#other(text);
      return known === NOTHING && this.#bytes > this.#limits.shardBytesMax ? FULL : known;
    }
    if (call.path !== "")
      return this.#other(callKeyText({ session: call.session.id, seq: call.seq, path: call.path }));
    const session = this.#sessions.get(call.session.id);
    if (session === undefined) {
      const tooOld =
        call.issuedAt > 0 && wallMs - call.issuedAt / 1000 > this.#limits.sessionExpiryMs;
      if (tooOld || call.seq < call.session.ackedBelow) return UNKNOWN;
      return this.#bytes > this.#limits.shardBytesMax ? FULL : NOTHING;
    }
    session.lastSeenMs = wallMs;
    if (call.session.ackedBelow - 1 > session.floor)
      this.#acknowledge(session, call.session.ackedBelow - 1);
    const entry = session.entries.get(call.seq);
    if (entry !== undefined) return { found: "entry", entry };
    if (call.seq <= session.floor) return UNKNOWN;
    if (session.bytes > this.#limits.sessionBytesMax || this.#bytes > this.#limits.shardBytesMax)
      return FULL;
    return NOTHING;
  }

  #other(key: string): Lookup {
    const entry = this.#others.get(key);
    return entry === undefined ? NOTHING : { found: "entry", entry };
  }

  add(
    key: CallKey,
    idempotencyKey: string | undefined,
    actor: string,
    entry: CallEntry,
    wallMs: number,
  ): void {
    const bytes = entry.bytes();
    this.#bytes += bytes;
    entry.tracked = true;
    if (idempotencyKey !== undefined)
      this.#others.set(idempotencyText(actor, idempotencyKey), entry);
    else if (key.path !== "") this.#others.set(callKeyText(key), entry);
    else {
      const session = this.#session(key.session, wallMs);
      session.entries.set(key.seq, entry);
      session.bytes += bytes;
    }
  }

  /** The entry's outcome is there: what it keeps has grown by `bytes`. */
  grown(entry: CallEntry, bytes: number): void {
    if (!entry.tracked) return;
    this.#bytes += bytes;
    if (entry.call.path === "" && entry.call.idempotencyKey === undefined) {
      const session = this.#sessions.get(entry.call.session.id);
      if (session !== undefined) session.bytes += bytes;
    }
  }

  /** Forgets an entry: it was refused, or the caller of a sub-call or send needs it no more. */
  remove(key: CallKey, idempotencyKey: string | undefined, actor: string): void {
    if (idempotencyKey !== undefined || key.path !== "") {
      const text =
        idempotencyKey !== undefined ? idempotencyText(actor, idempotencyKey) : callKeyText(key);
      this.forgetOther(text);
      return;
    }
    const session = this.#sessions.get(key.session);
    const entry = session?.entries.get(key.seq);
    if (session === undefined || entry === undefined) return;
    session.entries.delete(key.seq);
    session.bytes -= entry.bytes();
    this.#bytes -= entry.bytes();
  }

  #session(id: string, wallMs: number): SessionWindow {
    let session = this.#sessions.get(id);
    if (session === undefined) {
      session = { id, entries: new SequenceMap(), floor: 0, bytes: 0, lastSeenMs: wallMs };
      this.#sessions.set(id, session);
    }
    return session;
  }

  #acknowledge(session: SessionWindow, floor: number): void {
    session.floor = floor;
    session.entries.deleteUpTo(floor, (entry) => {
      if (!entry.recorded) return false;
      session.bytes -= entry.bytes();
      this.#bytes -= entry.bytes();
      return true;
    });
  }

  /**
   * Forgets what clients have acknowledged meanwhile, sessions silent for too long and idempotency keys past their lifetime.
   * Returns how many sessions and keys went.
   */
  expire(wallMs: number, ackedBelow: (session: string) => number): number {
    let expired = 0;
    for (const [id, session] of this.#sessions) {
      const floor = ackedBelow(id) - 1;
      if (floor > session.floor) this.#acknowledge(session, floor);
      if (wallMs - session.lastSeenMs <= this.#limits.sessionExpiryMs) continue;
      if ([...session.entries.values()].some((e) => !e.recorded)) continue;
      this.#bytes -= session.bytes;
      this.#sessions.delete(id);
      expired++;
    }
    for (const [key, entry] of this.#others) {
      if (!isOver(entry, wallMs)) continue;
      this.#bytes -= entry.bytes();
      this.#others.delete(key);
      expired++;
    }
    return expired;
  }

  sessions(): IterableIterator<SessionWindow> {
    return this.#sessions.values();
  }

  others(): IterableIterator<[string, CallEntry]> {
    return this.#others.entries();
  }

  /** Recovery: a session's floor and age as of the checkpoint. */
  restoreSession(id: string, floor: number, lastSeenMs: number): void {
    const session = this.#session(id, lastSeenMs);
    session.floor = Math.max(session.floor, floor);
  }

  /** The entry of a call by its identity alone. */
  lookupKey(
    key: CallKey,
    idempotencyKey: string | undefined,
    actor: string,
  ): CallEntry | undefined {
    if (idempotencyKey !== undefined)
      return this.#others.get(idempotencyText(actor, idempotencyKey));
    if (key.path !== "") return this.#others.get(callKeyText(key));
    return this.#sessions.get(key.session)?.entries.get(key.seq);
  }

  /** Whether the client has the answer of this call already. */
  isAcknowledged(key: CallKey): boolean {
    const session = key.path === "" ? this.#sessions.get(key.session) : undefined;
    return session !== undefined && key.seq <= session.floor && !session.entries.has(key.seq);
  }

  /** After recovery: silence counts from now. A client that waited for this start to retry must not find itself expired. */
  recovered(wallMs: number): void {
    for (const session of this.#sessions.values()) session.lastSeenMs = wallMs;
  }

  /** Drops an entry by its text key. */
  forgetOther(key: string): void {
    const entry = this.#others.get(key);
    if (entry === undefined) return;
    this.#others.delete(key);
    this.#bytes -= entry.bytes();
    // A call that its caller did not wait for may still run: what it grows by is not this window's any more.
    entry.tracked = false;
  }

  /** Recovery: what the session's client had acknowledged when this was logged. */
  restoreAcknowledged(id: string, ackedBelow: number): void {
    const session = this.#sessions.get(id);
    if (session !== undefined && ackedBelow - 1 > session.floor)
      this.#acknowledge(session, ackedBelow - 1);
  }

  /** Recovery: an entry kept under its text key. */
  restoreOther(key: string, entry: CallEntry): void {
    this.#bytes += entry.bytes();
    this.#others.set(key, entry);
  }
}

/** The lifetime of its idempotency key is over. */
function isOver(entry: CallEntry, wallMs: number): boolean {
  return entry.recorded && entry.expiresMs > 0 && entry.expiresMs <= wallMs;
}

/** Keys are the caller's choice, so they are scoped by actor. */
function idempotencyText(actor: string, key: string): string {
  return `!${actor}!${key}`;
}
