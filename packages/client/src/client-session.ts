/**
 * What this client process is to the hosts: a random id, the numbering of its calls and its logical time. All connections
 * share it, so a call can be sent again on any of them and is still recognised (P13).
 */
import { randomBytes } from "node:crypto";
import { HybridClock, hlcTime, type Clock } from "@pinion/core";
import { InFlightCalls } from "./in-flight-calls.ts";

export class ClientSession {
  /** 128 random bits, 22 characters of base64url. From the machine and not from a seed: it must never repeat. */
  readonly id = randomBytes(16).toString("base64url");
  readonly calls = new InFlightCalls();
  readonly #hlc: HybridClock;

  constructor(clock: Clock) {
    this.#hlc = new HybridClock(clock);
  }

  /** The host may forget the replies of calls with smaller numbers. */
  get ackedBelow(): number {
    return this.calls.lowest;
  }

  /** A new logical time, µs. */
  tickUs(): number {
    return this.#hlc.tick();
  }

  /** A client follows its hosts wherever their clocks are: it has no say in the cluster's time. */
  adoptTime(hlcUs: number): void {
    this.#hlc.startAfter(hlcTime(hlcUs));
  }

  /** Largest time seen, µs. */
  get lastUs(): number {
    return this.#hlc.last;
  }
}
