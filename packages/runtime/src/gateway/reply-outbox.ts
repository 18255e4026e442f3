/**
 * Replies on their way out of one stream: many in a frame, one frame per event-loop turn, and never more in memory than
 * `bytesMax` for a client that does not read.
 *
 * I1 replies leave in the order they were given.
 * I2 a frame never exceeds what the client accepts: it is closed at `FRAME_BYTES_SOFT`, and one reply has at most the rest.
 */
import {
  ByteWriter,
  encodeError,
  PinionError,
  writeGoAway,
  writeFrameError,
  writeFrameWelcome,
  writeHostFrameEnd,
  writeReply,
  type Clock,
  type GoAway,
  type Welcome,
} from "@pinion/core";
import type { Outcome } from "./dispatcher.ts";

/** Beyond this a frame leaves at once: the client can start while the rest is still being answered. */
const FRAME_BYTES_SOFT = 64 * 1024;
const FRAME_BYTES_SPARE = FRAME_BYTES_SOFT + 4 * 1024;

export interface OutboxStream {
  /** Takes a frame; false: the network is behind, wait for `drained`. */
  write(frame: Buffer): boolean;
}

export interface OutboxOptions {
  readonly clock: Clock;
  readonly maxFrameBytes: number;
  readonly bytesMax: number;
  /** This worker's clock, for every frame. */
  readonly hlcUs: () => number;
  /** More than `bytesMax` are waiting. */
  readonly onOverflow: () => void;
}

const NOTHING: Uint8Array = new Uint8Array(0);

export class ReplyOutbox {
  readonly #stream: OutboxStream;
  readonly #options: OutboxOptions;
  readonly #writer = new ByteWriter();
  readonly #replyBytesMax: number;
  #scheduled = false;
  #blocked = false;
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #closed = false;

  constructor(stream: OutboxStream, options: OutboxOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#replyBytesMax = options.maxFrameBytes - FRAME_BYTES_SPARE;
  }

  get blocked(): boolean {
    return this.#blocked;
  }

  reply(seq: number, outcome: Outcome, path: string): void {
    if (this.#closed) return;
    if (!this.#scheduled) this.#schedule();
    const w = this.#writer;
    let { ok, bytes } = outcome;
    if (bytes.length > this.#replyBytesMax) {
      ok = false;
      bytes = encodeError(this.#tooLarge(bytes.length), { omitStack: true });
    } else if (isUndefined(bytes)) bytes = NOTHING;
    writeReply(w, seq, ok, bytes, outcome.lsn ?? 0, outcome.shard ?? 0, path);
    if (w.position - w.base > FRAME_BYTES_SOFT) this.flush();
  }

  #tooLarge(bytes: number): PinionError {
    return new PinionError(
      "frame-too-large",
      `the call took effect, but its result of ${bytes} bytes exceeds the ${this.#replyBytesMax} that fit into a message`,
      { details: { bytes, maxBytes: this.#replyBytesMax } },
    );
  }

  welcome(welcome: Welcome): void {
    this.#schedule();
    writeFrameWelcome(this.#writer, welcome);
  }

  goAway(goAway: GoAway): void {
    this.#schedule();
    writeGoAway(this.#writer, goAway);
  }

  /** The last frame; for a client that reads. The stream's status says the same to the others. */
  error(error: PinionError): void {
    if (!this.#blocked) {
      writeFrameError(this.#writer, error);
      this.flush();
    }
    this.#closed = true;
  }

  close(): void {
    this.#closed = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.clock.defer(() => this.flush());
  }

  /** Closes the frame and sends it. */
  flush(): void {
    this.#scheduled = false;
    const w = this.#writer;
    if (this.#closed || w.position === w.base) return;
    writeHostFrameEnd(w, this.#options.hlcUs());
    const frame = w.take();
    if (!this.#blocked) this.#blocked = !this.#stream.write(frame);
    else {
      this.#waiting.push(frame);
      this.#waitingBytes += frame.length;
      if (this.#waitingBytes > this.#options.bytesMax) this.#options.onOverflow();
    }
  }

  /** The network has caught up. */
  drained(): void {
    if (this.#closed) return;
    this.#blocked = false;
    let sent = 0;
    while (sent < this.#waiting.length && !this.#blocked) {
      const frame = this.#waiting[sent++] as Buffer;
      this.#waitingBytes -= frame.length;
      this.#blocked = !this.#stream.write(frame);
    }
    this.#waiting.splice(0, sent);
  }
}

/** MessagePack of `undefined`: the wire says it with no bytes at all. */
function isUndefined(bytes: Uint8Array): boolean {
  return bytes.length === 3 && bytes[0] === 0xd4 && bytes[1] === 0 && bytes[2] === 0;
}
