/**
 * A dispatcher without a turn engine: what a test wants done with a call is a function. It keeps what it was told, so that a
 * test can look at the gateway and the client from the other side, and remembers replies by call id as the real one does.
 */
import { encodeError, encodeValue, HybridClock, PinionError, type Clock } from "@pinion/core";
import type {
  ActorTypeDescription,
  CallSink,
  Dispatcher,
  IncomingCall,
  Outcome,
  Session,
} from "@pinion/runtime";

/** Undefined: not answered now; the test does it later with `answer`. */
export type CallHandler = (call: IncomingCall) => Outcome | undefined;

export const valueOf = (value: unknown): Outcome => ({ ok: true, bytes: encodeValue(value) });
export const errorOf = (error: unknown): Outcome => ({ ok: false, bytes: encodeError(error) });

export class FakeDispatcher implements Dispatcher {
  handler: CallHandler;
  types: readonly ActorTypeDescription[] = [
    {
      name: "counter",
      methods: [
        { name: "increment", readonly: false },
        { name: "value", readonly: true },
      ],
    },
  ];
  readonly submitted: IncomingCall[] = [];
  readonly cancelled: number[] = [];
  readonly detached: string[] = [];
  readonly sessions = new Map<string, Session>();
  readonly #open = new Set<IncomingCall>();
  /** Outcomes by call id, as the dedupe window keeps them. */
  readonly #outcomes = new Map<string, Outcome>();
  readonly #clock: HybridClock;
  /** Called for every call submitted; tests await calls with it. */
  #watchers: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(clock: Clock, handler: CallHandler = () => valueOf(undefined)) {
    this.#clock = new HybridClock(clock);
    this.handler = handler;
  }

  get openCount(): number {
    return this.#open.size;
  }

  session(id: string): Session {
    let session = this.sessions.get(id);
    if (session === undefined) {
      session = { id, ackedBelow: 0 };
      this.sessions.set(id, session);
    }
    return session;
  }

  submit(call: IncomingCall): void {
    this.submitted.push(call);
    this.#open.add(call);
    const known = this.#outcomes.get(idOf(call));
    const outcome = known ?? this.handler(call);
    if (outcome !== undefined) this.answer(call, outcome);
    const due = this.#watchers.filter((w) => this.submitted.length >= w.count);
    this.#watchers = this.#watchers.filter((w) => !due.includes(w));
    for (const watcher of due) watcher.resolve();
  }

  /** Resolves when `count` calls have come in since the start. */
  async received(count: number): Promise<void> {
    if (this.submitted.length >= count) return;
    await new Promise<void>((resolve) => this.#watchers.push({ count, resolve }));
  }

  answer(call: IncomingCall, outcome: Outcome): void {
    this.#open.delete(call);
    if (outcome.refused === undefined) this.#outcomes.set(idOf(call), outcome);
    call.sink.reply(call, outcome);
  }

  cancel(session: Session, seq: number): void {
    this.cancelled.push(seq);
    for (const call of this.#open) {
      if (call.session !== session || call.seq !== seq) continue;
      this.answer(call, errorOf(new PinionError("cancelled", "the caller gave up")));
    }
  }

  detach(session: Session, _sink: CallSink): void {
    this.detached.push(session.id);
  }

  describe(): readonly ActorTypeDescription[] {
    return this.types;
  }

  exchangeTime(callerHlc: number): number {
    if (callerHlc > 0) this.#clock.adoptFromClient(callerHlc);
    return this.#clock.tick();
  }
}

function idOf(call: IncomingCall): string {
  return call.idempotencyKey ?? `${call.session.id}:${call.seq}`;
}
