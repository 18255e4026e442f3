/**
 * The test host's client on its way to whatever worker runs at the moment: while none does, connections fail, as they would with
 * a real host that is down; the client tries again by itself, with the same call ids.
 */
import type {
  ClientSession,
  Connection,
  ConnectionListener,
  Connector,
  PendingCall,
} from "@pinion/client";
import { PinionError, type Clock } from "@pinion/core";
import { LoopbackConnector, type LoopbackOptions } from "../gateway/index.ts";

export class TestConnector implements Connector {
  readonly #session: ClientSession;
  readonly #clock: Clock;
  /** Undefined while the host is down. */
  #host: LoopbackOptions | undefined;
  readonly #open = new Set<TestConnection>();

  constructor(session: ClientSession, clock: Clock, host: LoopbackOptions) {
    this.#session = session;
    this.#clock = clock;
    this.#host = host;
  }

  /** The host is up again, with another worker. */
  attach(host: LoopbackOptions): void {
    this.#host = host;
  }

  /** The host is gone: nothing more comes from it, and the client finds its connection broken. */
  detach(): void {
    this.#host = undefined;
    for (const connection of [...this.#open]) connection.break();
  }

  open(address: string, listener: ConnectionListener): Connection {
    const connection = new TestConnection(listener, () => this.#open.delete(connection));
    this.#open.add(connection);
    if (this.#host === undefined) this.#clock.defer(() => connection.break());
    else {
      const loopback = new LoopbackConnector(this.#host, this.#session);
      connection.inner = loopback.open(address, connection);
    }
    return connection;
  }
}

/** Passes everything on until it is broken or closed. */
class TestConnection implements Connection, ConnectionListener {
  inner: Connection | undefined;
  readonly #listener: ConnectionListener;
  readonly #onEnd: () => void;
  #ended = false;

  constructor(listener: ConnectionListener, onEnd: () => void) {
    this.#listener = listener;
    this.#onEnd = onEnd;
  }

  get blocked(): boolean {
    return this.inner?.blocked ?? true;
  }

  send(call: PendingCall, args: readonly unknown[] | undefined): void {
    this.inner?.send(call, args);
  }

  cancel(seq: number): void {
    this.inner?.cancel(seq);
  }

  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.inner?.close();
  }

  break(): void {
    if (this.#ended) return;
    this.close();
    this.#listener.onClosed(new PinionError("unavailable", "the test host is down"));
  }

  onWelcome(...args: Parameters<ConnectionListener["onWelcome"]>): void {
    if (!this.#ended) this.#listener.onWelcome(...args);
  }

  onReply(...args: Parameters<ConnectionListener["onReply"]>): void {
    if (!this.#ended) this.#listener.onReply(...args);
  }

  onWritten(...args: Parameters<ConnectionListener["onWritten"]>): void {
    if (!this.#ended) this.#listener.onWritten(...args);
  }

  onRelocations(...args: Parameters<ConnectionListener["onRelocations"]>): void {
    if (!this.#ended) this.#listener.onRelocations(...args);
  }

  onGoAway(...args: Parameters<ConnectionListener["onGoAway"]>): void {
    if (!this.#ended) this.#listener.onGoAway(...args);
  }

  onCredit(...args: Parameters<ConnectionListener["onCredit"]>): void {
    if (!this.#ended) this.#listener.onCredit(...args);
  }

  onUnblocked(): void {
    if (!this.#ended) this.#listener.onUnblocked();
  }

  onClosed(error: PinionError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.#listener.onClosed(error);
  }
}
