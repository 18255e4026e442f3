/**
 * The due reminders of a shard. The store holds all of them; memory holds those due within the horizon and those changed since
 * the last checkpoint, so that millions of far ones cost nothing.
 *
 * D1 a due time starts at most one turn: the turn's commit moves the schedule on, and until then the reminder is in flight.
 * D2 what was changed since the last checkpoint hides what the store says.
 * D3 due times are wall-clock; the timer looks again after `LOOK_MS`, or a tenth of the time that is left if that is longer, at
 *    most half a horizon or `LOOK_MS_MAX`, so that a clock set forward is noticed. After a failed read it looks after `LOOK_MS`.
 */
import { isPinionError, type Clock, type ShardId, type Timer } from "@pinion/core";
import type { ActorKey, StateStore } from "@pinion/storage";
import type { ReminderOp } from "../records/runtime-records.ts";
import { decodeReminder, type ReminderState } from "./reminder-state.ts";
import { fireAt, type Firing } from "./schedule.ts";

const LOOK_MS = 10_000;
const LOOK_MS_MAX = 2 * 60_000;
const LOAD_PAGE = 1_000;
/** Pause before a refused due time is tried again. */
const RETRY_MS = 100;
/** Turns of reminders started and not ended, per shard: a backlog after an outage is worked off, not dropped on the host at once. */
const IN_FLIGHT_MAX = 256;

interface Known {
  readonly actor: ActorKey;
  /** Undefined: cancelled, and the store does not know yet. */
  readonly state: ReminderState | undefined;
  dirty: boolean;
  inFlight: boolean;
}

export interface ReminderPorts {
  readonly clock: Clock;
  readonly store: StateStore;
  readonly horizonMs: number;
  /** Runs the turn; resolves when it is recorded or refused. */
  fire(actor: ActorKey, state: ReminderState, firing: Firing): Promise<void>;
  warn(message: string, error: unknown, details: Record<string, string | number>): void;
}

export class ShardReminders {
  readonly #shard: ShardId;
  readonly #ports: ReminderPorts;
  readonly #known = new Map<string, Known>();
  /** Ids by due time: a binary heap of [dueMs, id]; stale entries are skipped when they surface. */
  readonly #heap: [number, string][] = [];
  #loadedUpToMs = 0;
  #timer: Timer | undefined;
  #running = false;
  #loading = false;
  #loadFailed = false;
  #inFlight = 0;

  constructor(shard: ShardId, ports: ReminderPorts) {
    this.#shard = shard;
    this.#ports = ports;
  }

  get size(): number {
    return this.#known.size;
  }

  /** Earliest due time in memory, ms since the epoch; Infinity if none. For health: how late are we? */
  get nextDueMs(): number {
    return this.#heap[0]?.[0] ?? Infinity;
  }

  async start(): Promise<void> {
    this.#running = true;
    await this.#loadHorizon();
    this.#look();
  }

  stop(): void {
    this.#running = false;
    this.#timer?.cancel();
  }

  /** A committed-or-pipelined turn changed reminders of its actor; also used to replay the log. */
  changed(actor: ActorKey, ops: readonly ReminderOp[]): void {
    for (const op of ops) {
      const id = idOf(actor, op.name);
      const state = op.op === "set" ? decodeReminder(op.name, op.dueMs, op.body) : undefined;
      this.#known.set(id, { actor, state, dirty: true, inFlight: false });
      if (state !== undefined) push(this.#heap, [state.dueMs, id]);
    }
    if (this.#running) this.#arm();
  }

  /** A turn cut off by a crash runs again for its own due time: nobody else fires it meanwhile. */
  claim(
    actor: ActorKey,
    name: string,
    generation: number,
    dueMs: number,
  ): { state: ReminderState; firing: Firing } | undefined {
    const known = this.#known.get(idOf(actor, name));
    const state = known?.state;
    if (
      known === undefined ||
      state === undefined ||
      state.generation !== generation ||
      state.dueMs > dueMs
    )
      return undefined;
    known.inFlight = true;
    return { state, firing: fireAt({ ...state.schedule, missed: "all" }, dueMs, dueMs) };
  }

  /** The store now has what was dirty at the freeze. */
  freeze(): string[] {
    const ids: string[] = [];
    for (const [id, known] of this.#known) {
      if (!known.dirty) continue;
      known.dirty = false;
      ids.push(id);
    }
    return ids;
  }

  /** @param but actors of which the store has nothing new */
  checkpointed(ids: readonly string[], but: { has(actor: ActorKey): boolean }): void {
    for (const id of ids) {
      const known = this.#known.get(id);
      if (known !== undefined && but.has(known.actor)) known.dirty = true;
      if (known === undefined || known.dirty || known.inFlight) continue;
      if (known.state === undefined || known.state.dueMs > this.#loadedUpToMs)
        this.#known.delete(id);
    }
  }

  /** A checkpoint failed: what it held is still only in the log. */
  checkpointFailed(ids: readonly string[]): void {
    for (const id of ids) {
      const known = this.#known.get(id);
      if (known !== undefined) known.dirty = true;
    }
  }

  async #loadHorizon(): Promise<void> {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const upToMs = this.#ports.clock.wallMs() + this.#ports.horizonMs;
      let after: { dueMs: number; actor: ActorKey; name: string } | undefined;
      for (;;) {
        const page = await this.#ports.store.remindersDue(this.#shard, upToMs, LOAD_PAGE, after);
        for (const { actor, reminder } of page) {
          const id = idOf(actor, reminder.name);
          if (!this.#known.has(id)) {
            const state = decodeReminder(reminder.name, reminder.dueMs, reminder.body);
            this.#known.set(id, { actor, state, dirty: false, inFlight: false });
            push(this.#heap, [state.dueMs, id]);
          }
          after = { dueMs: reminder.dueMs, actor, name: reminder.name };
        }
        if (page.length < LOAD_PAGE) break;
      }
      this.#loadedUpToMs = upToMs;
      this.#loadFailed = false;
    } catch (error) {
      this.#loadFailed = true;
      throw error;
    } finally {
      this.#loading = false;
    }
  }

  #arm(): void {
    this.#timer?.cancel();
    // Whole ms: a fraction may round away against a wall clock of this size, and the timer would fire too early for ever.
    const untilDueMs = Math.ceil(this.nextDueMs - this.#ports.clock.wallMs());
    const calmMs = this.#loadFailed ? 0 : Math.min(untilDueMs / 10, LOOK_MS_MAX);
    const lookMs = Math.floor(Math.min(Math.max(LOOK_MS, calmMs), this.#ports.horizonMs / 2));
    // While as many as may be are in flight, nothing can be fired: the first that comes back looks again.
    const isFull = this.#inFlight >= IN_FLIGHT_MAX;
    const waitMs = isFull ? lookMs : Math.min(lookMs, Math.max(0, untilDueMs));
    this.#timer = this.#ports.clock.setTimer(waitMs, () => this.#look());
  }

  #look(): void {
    if (!this.#running) return;
    const nowMs = this.#ports.clock.wallMs();
    while (this.#inFlight < IN_FLIGHT_MAX) {
      const top = this.#heap[0];
      if (top === undefined || top[0] > nowMs) break;
      pop(this.#heap);
      const known = this.#known.get(top[1]);
      if (known?.state === undefined || known.inFlight || known.state.dueMs !== top[0]) continue;
      this.#fire(known, known.state, nowMs);
    }
    if (nowMs + this.#ports.horizonMs / 2 > this.#loadedUpToMs) {
      this.#loadHorizon().then(
        () => this.#running && this.#arm(),
        (error: unknown) => {
          this.#ports.warn("due reminders could not be read", error, { shard: this.#shard });
          if (this.#running) this.#arm();
        },
      );
    }
    this.#arm();
  }

  #fire(known: Known, state: ReminderState, nowMs: number): void {
    known.inFlight = true;
    this.#inFlight++;
    const firing = fireAt(state.schedule, state.dueMs, nowMs);
    this.#ports.fire(known.actor, state, firing).then(
      () => this.#fired(known, state, RETRY_MS),
      (error: unknown) => {
        this.#ports.warn("a reminder could not run and is tried again", error, {
          actor: known.actor,
          reminder: state.name,
        });
        // What cannot work (a type that is gone) is not tried ten times a second.
        this.#fired(
          known,
          state,
          isPinionError(error) && error.retry !== "never" ? RETRY_MS : RETRY_MS * 100,
        );
      },
    );
  }

  /** If the schedule did not move on, the turn was refused: it is due again in a moment. */
  #fired(known: Known, state: ReminderState, retryMs: number): void {
    this.#inFlight--;
    known.inFlight = false;
    const id = idOf(known.actor, state.name);
    if (this.#running && this.#known.get(id) === known) {
      this.#ports.clock.setTimer(retryMs, () => {
        push(this.#heap, [state.dueMs, id]);
        this.#look();
      });
    }
    if (this.#running) this.#arm();
  }
}

const idOf = (actor: ActorKey, name: string): string => `${actor}\u0000${name}`;

function push(heap: [number, string][], item: [number, string]): void {
  let at = heap.push(item) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if ((heap[parent] as [number, string])[0] <= item[0]) break;
    heap[at] = heap[parent] as [number, string];
    at = parent;
  }
  heap[at] = item;
}

function pop(heap: [number, string][]): void {
  const last = heap.pop() as [number, string];
  if (heap.length === 0) return;
  let at = 0;
  for (;;) {
    let child = at * 2 + 1;
    if (child >= heap.length) break;
    if (
      child + 1 < heap.length &&
      (heap[child + 1] as [number, string])[0] < (heap[child] as [number, string])[0]
    )
      child++;
    if ((heap[child] as [number, string])[0] >= last[0]) break;
    heap[at] = heap[child] as [number, string];
    at = child;
  }
  heap[at] = last;
}
