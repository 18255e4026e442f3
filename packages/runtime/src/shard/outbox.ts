/**
 * What committed turns still have to do: deliver their sends and run their effects. An entry lives from its turn's commit record
 * until a `done` record says it is through; a crash in between delivers again, and the receiver's dedupe window makes that once.
 *
 * O1 nothing is dispatched before its turn's record is committed.
 * O2 an entry is done only when the receiver has recorded an outcome and that is committed (a refusal is tried again), or the effect
 *    has returned.
 * O3 dispatch keeps the order of one sender's entries; after a refusal later entries may overtake.
 */
import { decodeError, type Clock, type Lsn, type Rng } from "@pinion/core";
import { RecordKind, type ActorKey } from "@pinion/storage";
import type { IncomingCall, Outcome } from "../gateway/dispatcher.ts";
import { callKeyText, childPath, type CallKey } from "../records/call-key.ts";
import { OutboxKind, writeDone, type OutboxEntry } from "../records/runtime-records.ts";
import type { Shard } from "./shard.ts";

/** First and longest pause before an entry is tried again. */
const RETRY_MS_MIN = 10;
const RETRY_MS_MAX = 30_000;
/** Done entries are logged together: lazily, because a lost one only costs a duplicate that the receiver recognises. */
const DONE_DELAY_MS = 20;
const DONE_BATCH = 256;

export interface OutboxItem {
  readonly sender: ActorKey;
  readonly call: CallKey;
  readonly entry: OutboxEntry;
  readonly lsn: Lsn;
  attempts: number;
}

export interface OutboxPorts {
  readonly clock: Clock;
  readonly rng: Rng;
  /** The envelope of a send. */
  sendEnvelope(item: OutboxItem, path: string): Omit<IncomingCall, "sink">;
  submit(call: IncomingCall): void;
  runEffect(item: OutboxItem): Promise<void>;
  /** The receiver may forget this send: it will not come again. */
  forget(item: OutboxItem, path: string): void;
  warn(message: string, error: unknown, details: Record<string, string | number>): void;
}

export class Outbox {
  readonly #shard: Shard;
  readonly #ports: OutboxPorts;
  readonly #items = new Map<string, OutboxItem>();
  #done: OutboxItem[] = [];
  #doneTimer = false;
  #discarded = false;

  constructor(shard: Shard, ports: OutboxPorts) {
    this.#shard = shard;
    this.#ports = ports;
  }

  /** Entries not known to be done. */
  get size(): number {
    return this.#items.size;
  }

  items(): IterableIterator<OutboxItem> {
    return this.#items.values();
  }

  /** A turn's entries, with its record appended at `at`. */
  add(sender: ActorKey, call: CallKey, entries: readonly OutboxEntry[], at: Lsn): void {
    const items = entries.map((entry): OutboxItem => ({
      sender,
      call,
      entry,
      lsn: at,
      attempts: 0,
    }));
    for (const item of items) this.#items.set(keyOf(item.call, item.entry.ordinal), item);
    this.#shard.gate.hold(at, {
      release: () => {
        for (const item of items) this.#dispatch(item);
      },
    });
  }

  /** Recovery: known to be committed, not known to be done. */
  restore(item: OutboxItem): void {
    this.#items.set(keyOf(item.call, item.entry.ordinal), item);
  }

  /** Recovery: a done record. Returns what was delivered. */
  restoreDone(call: CallKey, ordinal: number): OutboxItem | undefined {
    const key = keyOf(call, ordinal);
    const item = this.#items.get(key);
    this.#items.delete(key);
    return item;
  }

  /** After recovery: deliver what was left. */
  redeliver(): void {
    // Facts come back in the order of their names; senders' order is that of their records (O3).
    const inOrder = [...this.#items.values()].sort(
      (a, b) => a.lsn - b.lsn || a.entry.ordinal - b.entry.ordinal,
    );
    for (const item of inOrder) this.#dispatch(item);
  }

  /** @param key `<call>#<ordinal>` */
  hasKey(key: string): boolean {
    return this.#items.has(key);
  }

  /** The worker stops: what is done is logged, and nothing more is appended. Lost done entries only cost duplicates. */
  stop(): void {
    this.flushDone();
    this.#discarded = true;
  }

  discard(): void {
    this.#discarded = true;
    this.#items.clear();
    this.#done = [];
  }

  #dispatch(item: OutboxItem): void {
    if (this.#discarded) return;
    item.attempts++;
    if (item.entry.kind === OutboxKind.effect) {
      this.#ports.runEffect(item).then(
        () => this.#finished(item),
        (error: unknown) => this.#again(item, error),
      );
      return;
    }
    const envelope = this.#ports.sendEnvelope(item, childPath(item.call.path, item.entry.ordinal));
    this.#ports.submit({
      ...envelope,
      sink: { reply: (_call, outcome) => this.#answered(item, outcome) },
    });
  }

  /** Recorded outcomes, also errors, end a send: its turn has run. Refusals do not, even final ones: a store may recover, code may come back. */
  #answered(item: OutboxItem, outcome: Outcome): void {
    if (this.#discarded) return;
    if (outcome.refused !== undefined) {
      this.#again(item, decodeError(outcome.bytes));
      return;
    }
    if (!outcome.ok)
      this.#ports.warn("a send was delivered but its turn failed", outcome, {
        sender: item.sender,
        target: item.entry.target,
        method: item.entry.method,
      });
    this.#finished(item);
  }

  #again(item: OutboxItem, error: unknown): void {
    if (this.#discarded) return;
    const pauseMs =
      Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(item.attempts, 12)) *
      (0.5 + this.#ports.rng.float() / 2);
    if (item.attempts % 8 === 0) {
      this.#ports.warn("a send or effect keeps failing and is tried again", error, {
        sender: item.sender,
        what:
          item.entry.kind === OutboxKind.send
            ? `${item.entry.target} ${item.entry.method}`
            : item.entry.method,
        attempts: item.attempts,
      });
    }
    this.#ports.clock.setTimer(pauseMs, () => this.#dispatch(item));
  }

  #finished(item: OutboxItem): void {
    if (this.#discarded) return;
    this.#done.push(item);
    if (this.#done.length === DONE_BATCH) this.flushDone();
    else this.#armDone();
  }

  #armDone(): void {
    if (this.#doneTimer) return;
    this.#doneTimer = true;
    this.#ports.clock.setTimer(DONE_DELAY_MS, () => {
      this.#doneTimer = false;
      this.flushDone();
    });
  }

  /** Logs what is done. A full log leaves it for the next time. */
  flushDone(): void {
    if (this.#discarded || this.#done.length === 0 || this.#shard.log.failure !== undefined) return;
    const items = this.#done;
    const payload = this.#shard.encode((w) =>
      writeDone(
        w,
        items.map((i) => ({ call: i.call, ordinal: i.entry.ordinal })),
      ),
    );
    const at = this.#shard.tryAppend(RecordKind.done, payload);
    if (at === undefined) {
      this.#armDone();
      return;
    }
    this.#done = [];
    for (const item of items) this.#items.delete(keyOf(item.call, item.entry.ordinal));
    this.#shard.gate.hold(at, {
      release: () => {
        for (const item of items) {
          if (item.entry.kind === OutboxKind.send)
            this.#ports.forget(item, childPath(item.call.path, item.entry.ordinal));
        }
      },
    });
  }
}

const keyOf = (call: CallKey, ordinal: number): string => `${callKeyText(call)}#${ordinal}`;
