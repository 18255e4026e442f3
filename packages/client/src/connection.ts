/**
 * The port to one worker: over gRPC (grpc-connection.ts), or inside the host's own process (runtime/gateway). A connection
 * lives once: it opens, carries calls, and closes for good; reconnecting is the link's business.
 */
import type { GoAway, PinionError, Relocation, Welcome } from "@pinion/core";
import type { PendingCall } from "./pending-call.ts";

export interface ConnectionListener {
  /** Opened: calls may be sent. Again when what it says has changed. */
  onWelcome(welcome: Welcome): void;
  /** The result is `bytes[start … end)`: a value, or an error when not `ok`. Of no bytes: `undefined`. */
  onReply(
    seq: number,
    ok: boolean,
    bytes: Uint8Array,
    start: number,
    end: number,
    nowMs: number,
  ): void;
  /**
   * A one-way call is on its way: nothing that leaves later can overtake it. Comes once per transmission, possibly before
   * `send` returns; never for a call that is answered.
   */
  onWritten(call: PendingCall): void;
  onRelocations(relocations: readonly Relocation[]): void;
  onGoAway(goAway: GoAway): void;
  onCredit(credit: number): void;
  /** `blocked` turned false. */
  onUnblocked(): void;
  /** Last of all, exactly once, unless `close` was called. */
  onClosed(error: PinionError): void;
}

export interface Connection {
  /** What was sent already waits for the network: send no more until `onUnblocked`. */
  readonly blocked: boolean;
  /**
   * Sends the call with this event-loop turn's frame.
   * @param args the arguments, the first time; later they are in the call, encoded.
   * @throws `not-serializable`, `frame-too-large`; nothing of the call is sent then.
   */
  send(call: PendingCall, args: readonly unknown[] | undefined): void;
  /** Tells the host that nobody waits for the call any more. */
  cancel(seq: number): void;
  /** No event follows. */
  close(): void;
}

export interface Connector {
  /** Starts to open a connection; success and failure are told to `listener`, never before this returns. */
  open(address: string, listener: ConnectionListener): Connection;
}
