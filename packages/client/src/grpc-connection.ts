/**
 * One bidirectional gRPC stream to a worker (actor.proto, `Connect`).
 *
 * Calls are encoded straight into the frame of this event-loop turn. The frame's buffer is a slab that is not written again,
 * so a call needs no copy of its arguments for a retry: it remembers where they are.
 *
 * I1 one frame per event-loop turn, or one as soon as `FRAME_BYTES_SOFT` are reached.
 * I2 a call that cannot be encoded leaves no trace in the frame.
 * I3 at most the newest two slabs are kept alive by calls in flight: arguments of older ones are copied out.
 * I4 a frame acknowledges none of its own calls: one-way ones are told written after it was.
 * I5 `onClosed` comes exactly once, and nothing after it.
 */
import {
  Client,
  credentials,
  Metadata,
  type ClientDuplexStream,
  type StatusObject,
} from "@grpc/grpc-js";
import {
  ByteWriter,
  closeLength,
  decodeHostFrame,
  FRAME_CANCELS_MAX,
  isPinionError,
  messageOf,
  openCall,
  openCallArgs,
  PinionError,
  PROTOCOL_VERSION,
  SLAB_BYTES,
  WIRE_FEATURES,
  writeArgs,
  writeCallHeader,
  writeCancel,
  writeClientFrameEnd,
  writeHello,
  type HostFrame,
  type ReplyReader,
  type Timer,
} from "@pinion/core";
import type { ClientSession } from "./client-session.ts";
import type { Connection, ConnectionListener, Connector } from "./connection.ts";
import { asIs, CONNECT_PATH } from "./grpc-paths.ts";
import { channelOptions, errorOfStatus } from "./grpc-service.ts";
import type { ResolvedClientOptions } from "./options.ts";
import type { FrameTime, PendingCall } from "./pending-call.ts";

/** Beyond this a frame leaves at once: the host can start while we go on encoding. */
const FRAME_BYTES_SOFT = 64 * 1024;
/** What a frame holds besides its largest call: what was there before it, and the frame's own fields. */
const FRAME_BYTES_SPARE = FRAME_BYTES_SOFT + 4 * 1024;
const OPEN_TIMEOUT_MS = 5_000;
const CLOSE_TIMEOUT_MS = 1_000;
/** After this much silence the host is told which replies we have, so that it can forget them. */
const ACK_DELAY_MS = 1_000;

export class GrpcConnector implements Connector {
  readonly #session: ClientSession;
  readonly #options: ResolvedClientOptions;

  constructor(session: ClientSession, options: ResolvedClientOptions) {
    this.#session = session;
    this.#options = options;
  }

  open(address: string, listener: ConnectionListener): Connection {
    return new GrpcConnection(address, listener, this.#session, this.#options);
  }
}

class GrpcConnection implements Connection, ReplyReader {
  blocked = false;
  readonly #address: string;
  readonly #listener: ConnectionListener;
  readonly #session: ClientSession;
  readonly #options: ResolvedClientOptions;
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<Buffer, Buffer>;
  readonly #writer = new ByteWriter(SLAB_BYTES);
  #closed = false;
  #callBytesMax = FRAME_BYTES_SPARE;

  /** The frame being filled. */
  #frameOpen = false;
  #frameCancels = 0;
  /** One-way calls in it. */
  #frameOneWay: PendingCall[] = [];
  #frameTime: FrameTime = { atMs: 0, hlcUs: 0 };
  #receivedAtMs = 0;
  #ackedBelowSent = 1;
  #ackTimer: Timer | undefined;
  #openTimer: Timer | undefined;

  /** For I3: the slab in use, the one before it, and from which call on each was used. */
  #slab: Buffer;
  #slabFromSeq: number;
  #olderSlab: Buffer | undefined;
  #olderFromSeq = 0;

  constructor(
    address: string,
    listener: ConnectionListener,
    session: ClientSession,
    options: ResolvedClientOptions,
  ) {
    this.#address = address;
    this.#listener = listener;
    this.#session = session;
    this.#options = options;
    this.#slab = this.#writer.buffer;
    this.#slabFromSeq = session.calls.next;
    this.#client = new Client(address, credentials.createInsecure(), channelOptions(options));
    this.#stream = this.#client.makeBidiStreamRequest(CONNECT_PATH, asIs, asIs, new Metadata());
    this.#stream.on("data", (bytes: Buffer) => this.#onFrame(bytes));
    this.#stream.on("drain", () => this.#onDrain());
    this.#stream.on("error", (e: unknown) => this.#onError(e));
    this.#stream.on("end", () => this.#fail(this.#unavailable("the host ended the stream")));
    this.#openTimer = options.clock.setTimer(OPEN_TIMEOUT_MS, () =>
      this.#fail(this.#unavailable(`no answer within ${OPEN_TIMEOUT_MS} ms`)),
    );
    this.#openFrame();
    writeHello(this.#writer, {
      protocolVersion: PROTOCOL_VERSION,
      sessionId: session.id,
      features: WIRE_FEATURES,
      bearerToken: options.bearerToken,
      principal: "",
      clientName: options.clientName,
    });
  }

  send(call: PendingCall, args: readonly unknown[] | undefined): void {
    if (!this.#frameOpen) this.#openFrame();
    const w = this.#writer;
    const start = w.position;
    try {
      const callAt = openCall(w);
      const timeoutMs = call.timeoutMsAt(this.#frameTime.atMs);
      writeCallHeader(
        w,
        call.seq,
        call.target,
        call.method,
        timeoutMs,
        call.attempts + 1,
        call.firstSent?.hlcUs ?? 0,
        call.extras,
      );
      this.#writeArgs(w, call, args);
      const argsMoved = closeLength(w, callAt) - callAt;
      if (w.position - start > this.#callBytesMax) throw this.#tooLarge(w.position - start);
      if (args !== undefined) {
        call.argsBuffer = w.buffer;
        call.argsStart += argsMoved;
        call.argsEnd += argsMoved;
      }
    } catch (e) {
      w.position = start; // I2
      throw e;
    }
    call.attempts++;
    call.lastSent = this.#frameTime;
    call.firstSent ??= this.#frameTime;
    if (call.extras?.oneWay === true) this.#frameOneWay.push(call);
    if (w.position - w.base > FRAME_BYTES_SOFT) this.#flush();
  }

  #writeArgs(w: ByteWriter, call: PendingCall, args: readonly unknown[] | undefined): void {
    if (args === undefined) {
      if (call.argsEnd === call.argsStart) return;
      const at = openCallArgs(w);
      w.copy(call.argsBuffer as Uint8Array, call.argsStart, call.argsEnd);
      closeLength(w, at);
      return;
    }
    if (args.length === 0) {
      call.argsStart = call.argsEnd = 0;
      return;
    }
    const at = openCallArgs(w);
    writeArgs(w, args);
    call.argsStart = closeLength(w, at);
    call.argsEnd = w.position;
  }

  #tooLarge(bytes: number): PinionError {
    return new PinionError(
      "frame-too-large",
      `the call takes ${bytes} bytes; ${this.#address} accepts ${this.#callBytesMax}`,
      { details: { bytes, maxBytes: this.#callBytesMax } },
    );
  }

  cancel(seq: number): void {
    if (this.#closed) return;
    if (!this.#frameOpen) this.#openFrame();
    writeCancel(this.#writer, seq);
    if (++this.#frameCancels === FRAME_CANCELS_MAX) this.#flush();
  }

  #openFrame(): void {
    this.#frameOpen = true;
    this.#frameTime = { atMs: this.#options.clock.nowMs(), hlcUs: this.#session.tickUs() };
    this.#options.clock.defer(() => this.#flush());
  }

  #flush(): void {
    if (!this.#frameOpen || this.#closed) return;
    this.#frameOpen = false;
    const { ackedBelow } = this.#session;
    writeClientFrameEnd(
      this.#writer,
      ackedBelow > this.#ackedBelowSent ? ackedBelow : 0,
      this.#frameTime.hlcUs,
    );
    this.#ackedBelowSent = ackedBelow;
    const frame = this.#writer.take();
    if (this.#writer.buffer !== this.#slab) this.#turnSlab();
    this.#frameCancels = 0;
    if (!this.#stream.write(frame)) this.blocked = true;
    if (this.#frameOneWay.length > 0) this.#tellWritten();
  }

  #tellWritten(): void {
    const calls = this.#frameOneWay;
    this.#frameOneWay = [];
    for (const call of calls) this.#listener.onWritten(call); // I4
  }

  /** I3. Calls of the slab before the finished one are few by now: most were answered. */
  #turnSlab(): void {
    if (this.#olderSlab !== undefined) {
      for (let seq = this.#olderFromSeq; seq < this.#slabFromSeq; seq++) {
        const call = this.#session.calls.get(seq);
        if (call?.argsBuffer !== this.#olderSlab) continue;
        call.argsBuffer = Uint8Array.prototype.slice.call(
          call.argsBuffer,
          call.argsStart,
          call.argsEnd,
        );
        call.argsEnd -= call.argsStart;
        call.argsStart = 0;
      }
    }
    this.#olderSlab = this.#slab;
    this.#olderFromSeq = this.#slabFromSeq;
    this.#slab = this.#writer.buffer;
    this.#slabFromSeq = this.#session.calls.next;
  }

  #onDrain(): void {
    if (!this.blocked || this.#closed) return;
    this.blocked = false;
    this.#listener.onUnblocked();
  }

  #onFrame(bytes: Buffer): void {
    if (this.#closed) return;
    this.#receivedAtMs = this.#options.clock.nowMs();
    let frame: HostFrame;
    try {
      frame = decodeHostFrame(bytes, this);
    } catch (e) {
      this.#fail(isPinionError(e) ? e : this.#unavailable(messageOf(e)));
      return;
    }
    this.#session.adoptTime(frame.hlcUs);
    if (frame.replyCount > 0) this.#armAck();
    if (frame.welcome !== undefined) {
      this.#openTimer?.cancel();
      this.#callBytesMax = frame.welcome.limits.maxFrameBytes - FRAME_BYTES_SPARE;
      this.#listener.onWelcome(frame.welcome);
    }
    if (frame.relocations.length > 0) this.#listener.onRelocations(frame.relocations);
    if (frame.credit > 0) this.#listener.onCredit(frame.credit);
    if (frame.goAway !== undefined) this.#listener.onGoAway(frame.goAway);
    if (frame.error !== undefined) this.#fail(frame.error);
  }

  onReply(seq: number, ok: boolean, bytes: Uint8Array, start: number, end: number): void {
    this.#listener.onReply(seq, ok, bytes, start, end, this.#receivedAtMs);
  }

  #armAck(): void {
    if (this.#ackTimer !== undefined) return;
    this.#ackTimer = this.#options.clock.setTimer(ACK_DELAY_MS, () => {
      this.#ackTimer = undefined;
      if (this.#closed || this.#session.ackedBelow === this.#ackedBelowSent) return;
      if (!this.#frameOpen) this.#openFrame();
    });
  }

  #onError(e: unknown): void {
    const isStatus = e instanceof Error && "code" in e && "details" in e && "metadata" in e;
    this.#fail(
      isStatus
        ? errorOfStatus(e as unknown as StatusObject, this.#address)
        : this.#unavailable(messageOf(e)),
    );
  }

  #unavailable(what: string): PinionError {
    return new PinionError("unavailable", `${this.#address}: ${what}`, {
      details: { address: this.#address },
    });
  }

  #fail(error: PinionError): void {
    if (this.#closed) return;
    this.#dispose();
    this.#stream.cancel();
    this.#listener.onClosed(error); // I5
  }

  close(): void {
    if (this.#closed) return;
    // What the caller said last, cancellations above all, and that the host may forget our replies.
    if (!this.#frameOpen && this.#session.ackedBelow > this.#ackedBelowSent) this.#openFrame();
    this.#flush();
    this.#dispose();
    this.#stream.end();
    // A host that does not take the end of the stream must not keep this process alive.
    this.#options.clock.setTimer(CLOSE_TIMEOUT_MS, () => this.#stream.cancel());
  }

  #dispose(): void {
    this.#closed = true;
    this.#ackTimer?.cancel();
    this.#openTimer?.cancel();
    this.#client.close();
  }
}
