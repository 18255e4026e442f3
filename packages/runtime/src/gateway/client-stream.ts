/**
 * One client's stream into this worker: reads its frames, admits its calls, writes their replies.
 *
 * | state   | meaning                               | next            |
 * |---------|---------------------------------------|-----------------|
 * | opening | no Hello yet; a timer runs            | open, closed    |
 * | open    | calls come and replies go             | closed          |
 * | closed  | replies that still come are dropped   | –               |
 *
 * I1 a frame is read as a whole before anything of it is done: a malformed one has no effect.
 * I2 a bad frame ends this stream and touches no other.
 * I3 a call's own frame never takes it for one whose reply the client has: what the frame acknowledges beyond its calls counts
 *    once they are admitted.
 * I4 a cancellation is passed on once, and only for a call in flight here: any other would be searched for in vain.
 * I5 while the client does not read we do not read either; its replies are bounded, and kept by the dedupe window.
 */
import {
  decodeClientFrame,
  encodeError,
  isPinionError,
  messageOf,
  PinionError,
  PROTOCOL_VERSION,
  SequenceMap,
  type CallMessage,
  type Clock,
  type Hello,
  type Timer,
  type Welcome,
} from "@pinion/core";
import type { CallSink, Dispatcher, IncomingCall, Outcome, Session } from "./dispatcher.ts";
import {
  DRAINING,
  OVERLOADED,
  STREAM_OVERLOADED,
  type InFlightBudget,
} from "./in-flight-budget.ts";
import { ReplyOutbox } from "./reply-outbox.ts";
import { assertSessionId, originRefusal, refusalOf, StreamCall } from "./stream-call.ts";

/** The stream below us; grpc-js in production. */
export interface FrameStream {
  write(frame: Buffer): boolean;
  pause(): void;
  resume(): void;
  /** Ends the stream; with an error it becomes the stream's status. */
  end(error: PinionError | undefined): void;
}

/** What the gateway gives each of its streams. */
export interface StreamContext {
  readonly dispatcher: Dispatcher;
  readonly clock: Clock;
  readonly budget: InFlightBudget;
  readonly maxInFlightPerStream: number;
  readonly maxFrameBytes: number;
  readonly replyBufferBytesMax: number;
  readonly helloTimeoutMs: number;
  readonly draining: boolean;
  welcome(): Welcome;
  /** The stream has said which session it belongs to. */
  onOpened(session: Session): void;
  /** A call has its answer; told while draining. */
  onAnswered(): void;
  /** The stream is over; called once. */
  onClosed(stream: ClientStream): void;
}

export class ClientStream implements CallSink {
  readonly #stream: FrameStream;
  readonly #context: StreamContext;
  readonly #outbox: ReplyOutbox;
  #helloTimer: Timer | undefined;
  #session: Session | undefined;
  #inFlight = 0;
  /** By sequence number, for cancellations: the newest transmission of each, until it is answered or cancelled. */
  readonly #cancellable = new SequenceMap<StreamCall>();
  #inFlightBytes = 0;
  #paused = false;
  #closed = false;
  #clientName = "";

  constructor(stream: FrameStream, context: StreamContext) {
    this.#stream = stream;
    this.#context = context;
    this.#outbox = new ReplyOutbox(stream, {
      clock: context.clock,
      maxFrameBytes: context.maxFrameBytes,
      bytesMax: context.replyBufferBytesMax,
      hlcUs: () => context.dispatcher.exchangeTime(0),
      onOverflow: () => this.fail(notReading(context.replyBufferBytesMax)),
    });
    this.#helloTimer = context.clock.setTimer(context.helloTimeoutMs, () =>
      this.fail(new PinionError("malformed-frame", `no Hello within ${context.helloTimeoutMs} ms`)),
    );
  }

  get session(): Session | undefined {
    return this.#session;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get clientName(): string {
    return this.#clientName;
  }

  // ---------------------------------------------------------------- in

  onFrame(bytes: Uint8Array): void {
    if (this.#closed) return;
    try {
      this.#take(bytes);
    } catch (e) {
      this.fail(isPinionError(e) ? e : new PinionError("internal", messageOf(e), { cause: e }));
    }
  }

  #take(bytes: Uint8Array): void {
    const frame = decodeClientFrame(bytes); // I1
    const { dispatcher, clock } = this.#context;
    if (this.#session === undefined) this.#greet(frame.hello);
    else if (frame.hello !== undefined)
      throw new PinionError("malformed-frame", "a second Hello on one stream");
    const session = this.#session as Session;
    dispatcher.exchangeTime(frame.hlcUs);
    const nowMs = clock.nowMs();
    session.lastSeenMs = nowMs;
    const { calls, cancels, ackedBelow } = frame;
    if (ackedBelow > session.ackedBelow) acknowledge(session, lowestOf(calls, ackedBelow)); // I3
    // Answers may come at once, and their number may end the stream: the rest is for a retry.
    for (let i = 0; i < calls.length && !this.#closed; i++) {
      this.#admit(calls[i] as CallMessage, session, nowMs);
    }
    // Where the stream ended meanwhile, calls of the frame were not admitted: nothing of them is acknowledged.
    if (!this.#closed) acknowledge(session, ackedBelow);
    for (const seq of cancels) this.#cancel(session, seq);
    if (this.#outbox.blocked && !this.#paused) {
      this.#paused = true; // I5
      this.#stream.pause();
    }
  }

  #greet(hello: Hello | undefined): void {
    if (hello === undefined)
      throw new PinionError("malformed-frame", "the first frame holds no Hello");
    if (hello.protocolVersion !== PROTOCOL_VERSION) {
      throw new PinionError(
        "format-too-new",
        `the client speaks protocol version ${hello.protocolVersion}, this host version ${PROTOCOL_VERSION}`,
        { details: { client: hello.protocolVersion, host: PROTOCOL_VERSION } },
      );
    }
    assertSessionId(hello.sessionId);
    this.#helloTimer?.cancel();
    this.#helloTimer = undefined;
    this.#clientName = hello.clientName.slice(0, 128);
    this.#session = this.#context.dispatcher.session(hello.sessionId);
    this.#context.onOpened(this.#session);
    this.#outbox.welcome(this.#context.welcome());
  }

  #admit(message: CallMessage, session: Session, nowMs: number): void {
    const context = this.#context;
    const argsBytes = message.args.length;
    if (context.draining) return this.#refuse(message, DRAINING);
    if (this.#inFlight >= context.maxInFlightPerStream)
      return this.#refuse(message, STREAM_OVERLOADED);
    const refusal = originRefusal(message) ?? refusalOf(message.idempotencyKey);
    if (refusal !== undefined) {
      return this.#refuse(message, {
        ok: false,
        bytes: encodeError(refusal, { omitStack: true }),
        refused: "final",
      });
    }
    if (!context.budget.take(argsBytes)) return this.#refuse(message, OVERLOADED);
    const call = new StreamCall(message, session, this, nowMs);
    this.#inFlight++;
    this.#inFlightBytes += argsBytes;
    this.#cancellable.set(call.seq, call);
    context.dispatcher.submit(call);
  }

  #cancel(session: Session, seq: number): void {
    if (this.#cancellable.delete(seq)) this.#context.dispatcher.cancel(session, seq); // I4
  }

  #refuse(message: CallMessage, outcome: Outcome): void {
    if (!message.oneWay) this.#outbox.reply(message.seq, outcome, message.path);
  }

  // ---------------------------------------------------------------- out

  reply(call: IncomingCall, outcome: Outcome): void {
    const own = call as StreamCall;
    if (this.#closed || own.answered) return;
    this.#release(own);
    if (!own.oneWay) this.#outbox.reply(own.seq, outcome, own.path);
    if (this.#context.draining) this.#context.onAnswered();
  }

  superseded(call: IncomingCall): void {
    const own = call as StreamCall;
    if (!this.#closed && !own.answered) this.#release(own);
  }

  #release(call: StreamCall): void {
    call.answered = true;
    this.#inFlight--;
    this.#inFlightBytes -= call.args.length;
    this.#context.budget.release(1, call.args.length);
    if (this.#cancellable.get(call.seq) === call) this.#cancellable.delete(call.seq);
  }

  welcomeAgain(): void {
    if (!this.#closed && this.#session !== undefined) this.#outbox.welcome(this.#context.welcome());
  }

  goAway(reason: string, graceMs: number): void {
    if (!this.#closed && this.#session !== undefined) this.#outbox.goAway({ reason, graceMs });
  }

  onDrain(): void {
    this.#outbox.drained();
    if (this.#paused && !this.#outbox.blocked) {
      this.#paused = false;
      this.#stream.resume();
    }
  }

  // ---------------------------------------------------------------- endings

  /** Ends the stream with an error of ours (I2). */
  fail(error: PinionError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outbox.error(error);
    this.#stream.end(error);
    this.#dispose();
  }

  /** Ends the stream after the replies so far. */
  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#outbox.flush();
    this.#stream.end(undefined);
    this.#dispose();
  }

  /** The stream is gone. Calls in flight go on; a retry finds their replies. */
  onClosed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#dispose();
  }

  #dispose(): void {
    this.#helloTimer?.cancel();
    this.#outbox.close();
    this.#context.budget.release(this.#inFlight, this.#inFlightBytes);
    this.#inFlight = 0;
    this.#inFlightBytes = 0;
    this.#cancellable.clear();
    this.#context.onClosed(this);
  }
}

function acknowledge(session: Session, below: number): void {
  if (below > session.ackedBelow) session.ackedBelow = below;
}

function lowestOf(calls: readonly CallMessage[], atMost: number): number {
  let lowest = atMost;
  for (const call of calls) if (call.seq < lowest) lowest = call.seq;
  return lowest;
}

function notReading(bytesMax: number): PinionError {
  return new PinionError(
    "overloaded",
    `the client does not read: more than ${bytesMax} bytes of replies are waiting for it; they are kept for a retry`,
    { details: { bytesMax } },
  );
}
