/** The host as its admin side sees it: from the control thread, which a blocked worker does not hold up. */
import type { HostMemoryFacts } from "./memory-requests.ts";
import type { WorkerRequests } from "./worker-requests.ts";

/** Something works worse than it could. */
export interface Degradation {
  /** "memory pins", "native part" … */
  readonly what: string;
  readonly why: string;
}

/** Where a blocked event loop stands. */
export interface BlockedTurn {
  /** Actor id, text form. */
  readonly actor: string;
  readonly method: string;
  /** Session, sequence and path; empty in a hook. */
  readonly call: string;
  /** False when it is only the last turn that was seen. */
  readonly exact: boolean;
}

export type WorkerCondition =
  | { readonly state: "up" }
  | { readonly state: "starting" }
  | { readonly state: "reloading" }
  | { readonly state: "restarting"; readonly reason: string; readonly inMs: number }
  | { readonly state: "blocked"; readonly forMs: number; readonly turn: BlockedTurn | null }
  | { readonly state: "failed"; readonly reason: string };

export interface AdminWorker {
  readonly index: number;
  condition(): WorkerCondition;
  /** Ms since its event loop was last seen to turn. */
  silenceMs(): number;
  /** @throws `unavailable` when it does not answer in time */
  request<K extends keyof WorkerRequests>(
    kind: K,
    args: WorkerRequests[K]["args"],
    timeoutMs: number,
  ): Promise<WorkerRequests[K]["result"]>;
}

export interface HostFacts {
  readonly version: string;
  readonly pid: number;
  readonly hostId: string;
  readonly clusterId: string;
  readonly incarnation: number;
  readonly shardCount: number;
  readonly dataDir: string;
  readonly memory: HostMemoryFacts;
  readonly endpoints: readonly string[];
  readonly adminEndpoint: string;
  /** ISO 8601. */
  readonly startedAt: string;
  /** "values", or the module the actors come from. */
  readonly actors: string;
}

/** A call that has blocked a worker; after the second time it is not run again. */
export interface QuarantineEntry {
  readonly key: string;
  /** Actor id, text form. */
  readonly actor: string;
  readonly method: string;
  readonly times: number;
  /** ISO 8601. */
  readonly last: string;
  readonly quarantined: boolean;
}

export interface AdminHost {
  readonly workers: readonly AdminWorker[];
  facts(): HostFacts;
  degraded(): readonly Degradation[];
  blockedCalls(): readonly QuarantineEntry[];
  /** Why the last reload did not take; null when it did, or there was none. */
  reloadError(): string | null;
  /** Worker restarts since the host started, by reason. */
  restarts(): Readonly<Record<string, number>>;
  /** Begins to stop the host; resolves when that is under way. */
  stop(graceMs: number): Promise<void>;
  /** @throws `module-failed`, with the old module still running; `config-invalid` when the actors are values */
  reload(): Promise<void>;
}
