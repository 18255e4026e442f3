/**
 * What the control thread asks a worker, and the answers: plain values, because they cross threads. The worker answers in
 * worker-answers.ts; a blocked one does not answer at all.
 */
import type { ActorExtentsReport, PinsQuery, SegmentsRow, WorkerPins } from "./memory-requests.ts";
import type { MetricSnapshot } from "../observability/index.ts";
import type { WorkerState } from "../worker/worker-core.ts";

/** A record was appended and committed. */
export interface ProbeResult {
  /** From the append to the commit, ms. */
  readonly tookMs: number;
}

/** A turn that runs, or was given up and has not returned. */
export interface TurnSummary {
  /** Actor id, text form. */
  readonly actor: string;
  readonly method: string;
  /** Session, sequence and path; empty in a hook. */
  readonly call: string;
  readonly ageMs: number;
  /** Ms until its deadline or `maxTurnMs`, whichever is first; negative when that has passed, null without one. */
  readonly remainingMs: number | null;
  /** Its time was up and it changes nothing any more, but its method still runs. */
  readonly abandoned: boolean;
}

export interface WorkerStatus {
  readonly worker: number;
  readonly state: WorkerState;
  readonly endpoint: string;
  readonly failure: string | null;
  readonly uptimeMs: number;
  readonly activations: number;
  readonly callsInFlight: number;
  readonly outboxEntries: number;
  readonly streams: number;
  readonly sessions: number;
  readonly recovery: {
    readonly records: number;
    readonly rerun: number;
    readonly redelivered: number;
    readonly ms: number;
  };
  readonly checkpoint: {
    readonly completed: number;
    readonly lastError: string | null;
    /** Log bytes a restart would read. */
    readonly logBytesSince: number;
    /** Changed pages of extents that it has not written yet. */
    readonly dirtyBytes: number;
  };
  readonly log: {
    readonly policy: string;
    readonly segments: number;
    readonly flushes: number;
    readonly flushP99Us: number;
    readonly backpressure: string | null;
    readonly troubles: readonly string[];
  };
  readonly archive: {
    readonly state: "off" | "ok" | "failing" | "behind";
    readonly error: string | null;
    readonly failingForMs: number;
    readonly backlogSegments: number;
  };
  readonly disk: { readonly freeBytes: number; readonly neededBytes: number };
  /** How far the logical clock runs ahead of the wall clock, ms: large after the wall clock was set back. */
  readonly clockAheadMs: number;
  /** Turns that take long, oldest first; at most `SLOW_TURNS_MAX`. */
  readonly slowTurns: readonly TurnSummary[];
}

export interface TypeSummary {
  readonly name: string;
  readonly stateVersion: number;
  readonly reentrancy: string;
  readonly methods: readonly { readonly name: string; readonly readonly: boolean }[];
  readonly activations: number;
}

export interface ActorsQuery {
  readonly type?: string;
  /** Keys that start with it; needs `type`. */
  readonly prefix?: string;
  readonly namespace?: string;
  readonly branch?: string;
  /** 1 … `ACTORS_PAGE_MAX`. */
  readonly limit: number;
  /** Continues after this place: the last page's `next`. */
  readonly after?: string;
}

export interface ActorRow {
  /** Actor id, text form. */
  readonly id: string;
  /** Its place in the order of listings: what `after` takes. */
  readonly cursor: string;
  readonly shard: number;
  /** In memory, and how; "stored": only on disk. */
  readonly state: "loading" | "active" | "deactivating" | "ended" | "stored";
  /** Size of the state in the store; null when it is not there yet. */
  readonly storedBytes: number | null;
  readonly lsn: number;
}

export interface ActorsPage {
  readonly actors: readonly ActorRow[];
  /** To ask for the next page with; null at the end. */
  readonly next: string | null;
}

export interface ReminderSummary {
  readonly name: string;
  readonly method: string;
  /** ISO 8601. */
  readonly due: string;
}

export interface ActorInspection {
  readonly id: string;
  readonly worker: number;
  readonly shard: number;
  /** "stored": not in memory. "unknown": never written, or deleted. */
  readonly activation: "loading" | "active" | "deactivating" | "ended" | "stored" | "unknown";
  readonly idleMs: number | null;
  /** The committed state as JSON text: maps, sets, dates and bytes are written as in unary calls. Null when there is none. */
  readonly stateJson: string | null;
  readonly stateVersion: number | null;
  readonly definedStateVersion: number | null;
  readonly mailboxLength: number;
  readonly turns: readonly TurnSummary[];
  readonly reminders: readonly ReminderSummary[];
  readonly lsn: number;
  readonly appliedLsn: number;
  readonly committedLsn: number;
}

export type WorkerRequests = {
  probe: { args: null; result: ProbeResult };
  metrics: { args: null; result: readonly MetricSnapshot[] };
  status: { args: null; result: WorkerStatus };
  types: { args: null; result: readonly TypeSummary[] };
  actors: { args: ActorsQuery; result: ActorsPage };
  inspect: { args: { readonly id: string }; result: ActorInspection };
  pins: { args: PinsQuery; result: WorkerPins };
  extents: { args: { readonly id: string }; result: ActorExtentsReport };
  segments: { args: null; result: readonly SegmentsRow[] };
};

export const ACTORS_PAGE_MAX = 1_000;
export const SLOW_TURNS_MAX = 20;
/** A turn older than this is worth a look. */
export const SLOW_TURN_MS = 5_000;
