/** A running host, as whoever started it sees it. */
import type { Client } from "@pinion/client";
import type { Degradation } from "../admin/index.ts";

export interface StopOptions {
  /** How long calls and turns may take to end, ms; default: the option `stopGraceMs`. */
  readonly graceMs?: number;
}

export interface Host extends AsyncDisposable {
  /** A client in this process, typed from the definitions: `host.client.get(Counter, "visits")`. */
  readonly client: Client;
  /** "host:port" for clients in other processes: `connect(host.endpoint)`. */
  readonly endpoint: string;
  /** One per worker. */
  readonly endpoints: readonly string[];
  /** "host:port" of health, metrics and the admin API. */
  readonly adminEndpoint: string;
  readonly dataDir: string;
  readonly hostId: string;
  readonly clusterId: string;
  /** Counts the starts of this host, from 1. */
  readonly incarnation: number;
  /** What works worse than it could, and why. */
  readonly degraded: readonly Degradation[];
  /** Resolves when the host has stopped; rejects when it failed for good. Nothing is lost if nobody listens. */
  readonly closed: Promise<void>;
  /**
   * Loads the actor module anew and hands over to it: clients see a retry, state survives.
   * @throws `module-failed`, with the old one still running; `config-invalid` when the actors were given as values
   */
  reload(): Promise<void>;
  /** Lets calls and turns end, checkpoints everything, frees directory and ports. May be called again. */
  stop(options?: StopOptions): Promise<void>;
}
