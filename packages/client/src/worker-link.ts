/**
 * The way to one worker: a connection, what waits for it, and the attempts to get it back.
 *
 * | state      | meaning                                              | next                         |
 * |------------|------------------------------------------------------|------------------------------|
 * | idle       | nobody has asked for it yet                          | connecting, closed           |
 * | connecting | a connection is being opened                         | ready, waiting, closed       |
 * | ready      | calls are sent                                       | draining, waiting, closed    |
 * | draining   | the host goes away: answers still come, calls wait   | waiting, closed              |
 * | waiting    | until the next attempt to connect                    | connecting, closed           |
 * | closed     | for good                                             | –                            |
 *
 * I1 at most `window` calls are in flight; the rest waits in order, retries first.
 * I2 one attempt to connect at a time, with growing, jittered delays in between.
 * I3 a lost connection gives every call it carried back to the desk, exactly once.
 */
import type { GoAway, PinionError, Relocation, Timer, Welcome } from "@pinion/core";
import type { ClientSession } from "./client-session.ts";
import type { Connection, ConnectionListener, Connector } from "./connection.ts";
import type { ResolvedClientOptions } from "./options.ts";
import type { CallCarrier, PendingCall } from "./pending-call.ts";
import { backoffMs } from "./retry-policy.ts";

export type LinkState = "idle" | "connecting" | "ready" | "draining" | "waiting" | "closed";

/** What a link tells about its calls. */
export interface CallOutcomes {
  onReply(
    seq: number,
    ok: boolean,
    bytes: Uint8Array,
    start: number,
    end: number,
    nowMs: number,
  ): void;
  /** A one-way call was handed to the network: nobody answers it. */
  onWritten(call: PendingCall): void;
  /** A waiting call could not be encoded for this host after all. */
  onUnsendable(call: PendingCall, error: unknown): void;
}

/** What a link tells about its host. */
export interface LinkEvents {
  onWelcome(link: WorkerLink, welcome: Welcome): void;
  onRelocations(relocations: readonly Relocation[]): void;
  onDraining(link: WorkerLink, reason: string): void;
  /** @param carried the calls that were sent and not answered, in order; already waiting again. */
  onLost(
    link: WorkerLink,
    error: PinionError,
    carried: readonly PendingCall[],
    retryInMs: number,
  ): void;
}

export class WorkerLink implements CallCarrier, ConnectionListener {
  readonly address: string;
  readonly #session: ClientSession;
  readonly #connector: Connector;
  readonly #options: ResolvedClientOptions;
  readonly #calls: CallOutcomes;
  readonly #events: LinkEvents;
  #state: LinkState = "idle";
  #connection: Connection | undefined;
  #window: number;
  #failures = 0;
  #retryTimer: Timer | undefined;
  #inFlight = 0;
  #waiting = new Set<PendingCall>();
  lastError: PinionError | undefined;

  constructor(
    address: string,
    session: ClientSession,
    connector: Connector,
    options: ResolvedClientOptions,
    calls: CallOutcomes,
    events: LinkEvents,
  ) {
    this.address = address;
    this.#session = session;
    this.#connector = connector;
    this.#options = options;
    this.#calls = calls;
    this.#events = events;
    this.#window = options.maxInFlight;
  }

  get state(): LinkState {
    return this.#state;
  }

  get waitingCalls(): Iterable<PendingCall> {
    return this.#waiting;
  }

  get waitingCount(): number {
    return this.#waiting.size;
  }

  connect(): void {
    if (this.#state !== "idle" && this.#state !== "waiting") return;
    this.#retryTimer?.cancel();
    this.#state = "connecting";
    this.#connection = this.#connector.open(this.address, this);
  }

  /** Connects if nobody has asked for it yet. Never shortens the pause after a failure. */
  wake(): void {
    if (this.#state === "idle") this.connect();
  }

  /**
   * True when a call given to `send` now would leave with this turn's frame.
   */
  get open(): boolean {
    return (
      this.#state === "ready" &&
      this.#waiting.size === 0 &&
      this.#inFlight < this.#window &&
      !(this.#connection as Connection).blocked
    );
  }

  /** @throws what `Connection.send` throws; the call is not carried then. */
  send(call: PendingCall, args: readonly unknown[] | undefined): void {
    // Before it is sent: a one-way call may be settled before this returns.
    call.state = "sent";
    call.carrier = this;
    (this.#connection as Connection).send(call, args);
    if (!isOneWay(call)) this.#inFlight++;
  }

  /** Keeps an encoded call until it can be sent. */
  park(call: PendingCall): void {
    call.state = "waiting";
    call.carrier = this;
    this.#waiting.add(call);
    if (this.#state === "idle") this.connect();
    else this.#pump();
  }

  /** A call that was sent has its answer. */
  release(): void {
    this.#inFlight--;
    if (this.#waiting.size > 0) this.#pump();
  }

  abandon(call: PendingCall, wasSent: boolean): void {
    if (!wasSent) {
      this.#waiting.delete(call);
      return;
    }
    if (!isOneWay(call)) this.#inFlight--;
    this.#connection?.cancel(call.seq);
    if (this.#waiting.size > 0) this.#pump();
  }

  /** Gives up what waits, for another link to carry. */
  takeWaiting(): PendingCall[] {
    const calls = [...this.#waiting];
    this.#waiting.clear();
    for (const call of calls) call.carrier = undefined;
    return calls;
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#retryTimer?.cancel();
    this.#connection?.close();
    this.#connection = undefined;
  }

  #pump(): void {
    if (this.#state !== "ready") return;
    const connection = this.#connection as Connection;
    for (const call of this.#waiting) {
      if (this.#inFlight >= this.#window || connection.blocked) return;
      this.#waiting.delete(call);
      try {
        this.send(call, undefined);
      } catch (e) {
        this.#calls.onUnsendable(call, e);
      }
    }
  }

  // ---------------------------------------------------------------- events of the connection

  onWelcome(welcome: Welcome): void {
    const opened = this.#state === "connecting";
    this.#window = Math.min(this.#options.maxInFlight, Math.max(1, welcome.limits.maxInFlight));
    if (opened) {
      this.#state = "ready";
      this.#failures = 0;
    }
    this.#events.onWelcome(this, welcome);
    this.#pump();
  }

  onReply(
    seq: number,
    ok: boolean,
    bytes: Uint8Array,
    start: number,
    end: number,
    nowMs: number,
  ): void {
    this.#calls.onReply(seq, ok, bytes, start, end, nowMs);
  }

  onWritten(call: PendingCall): void {
    if (call.carrier === this) this.#calls.onWritten(call);
  }

  onRelocations(relocations: readonly Relocation[]): void {
    this.#events.onRelocations(relocations);
  }

  onCredit(credit: number): void {
    this.#window = Math.min(this.#options.maxInFlight, credit);
    this.#pump();
  }

  onUnblocked(): void {
    this.#pump();
  }

  onGoAway(goAway: GoAway): void {
    if (this.#state !== "ready") return;
    this.#state = "draining";
    this.#events.onDraining(this, goAway.reason);
  }

  onClosed(error: PinionError): void {
    this.#connection = undefined;
    this.lastError = error;
    this.#failures++;
    const carried = this.#session.calls
      .all()
      .filter((call) => call.carrier === this && call.state === "sent");
    for (const call of carried) call.state = "waiting";
    this.#inFlight = 0;
    this.#waiting = new Set([...carried, ...this.#waiting]); // retries first (I1)
    this.#state = "waiting";
    const { reconnectDelayMsMin, reconnectDelayMsMax, rng, clock } = this.#options;
    const delayMs = backoffMs(this.#failures, reconnectDelayMsMin, reconnectDelayMsMax, rng);
    this.#retryTimer = clock.setTimer(delayMs, () => this.connect());
    this.#events.onLost(this, error, carried, delayMs);
  }
}

const isOneWay = (call: PendingCall): boolean => call.extras?.oneWay === true;
