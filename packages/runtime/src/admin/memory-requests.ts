/** What the command line asks about memory, and the answers: plain values, like all of worker-requests.ts. */
import type {
  AccessCounts,
  ArenaStats,
  LinkKind,
  LockDenial,
  MemoryFacts,
  PinListing,
  PinPriority,
  PinStats,
  TimeBucket,
} from "@pinion/storage";
import type { WorkerHomeReport } from "../memory/worker-home.ts";

/** How much memory pins of a host may take, and of what. */
export interface HostMemoryFacts {
  /** The smallest of the machine's memory and the limits of the control groups. */
  readonly limitBytes: number;
  /** "MemTotal", or the file that holds the limit. */
  readonly limitedBy: string;
  /** Less heaps, buffers and headroom. */
  readonly usableBytes: number;
  /** Bytes that pins of all workers may take. */
  readonly pinBytes: number;
}

export interface PinsQuery {
  readonly priority?: PinPriority;
  /** Actor id, text form. */
  readonly actor?: string;
  readonly numaNode?: number;
  /** Only extents that are not in memory although they should be. */
  readonly degraded?: boolean;
  /** 1 … `PINS_MAX`. */
  readonly limit: number;
}

export const PINS_MAX = 10_000;

export interface PinRow {
  /** Actor id, text form. */
  readonly actor: string;
  readonly extent: string;
  readonly worker: number;
  readonly state: PinListing["state"];
  readonly priority: PinPriority;
  /** What its type asks for; lower while the actor is idle. */
  readonly askedPriority: PinPriority;
  readonly bytes: number;
  readonly locked: boolean;
  /** Why the system may page it out; null when it may not, or the extent is not in memory. */
  readonly notLocked: LockDenial | null;
  /** 0 … 1. */
  readonly heat: number;
  /** The node with most of its memory; null where nobody can tell, or has looked yet. */
  readonly numaNode: number | null;
  /** Part of its memory on the node it is wanted on. */
  readonly localShare: number | null;
  readonly hugeBytes: number | null;
  readonly residentMs: number | null;
  /** Why it is not in memory; null when it is, or is on its way. */
  readonly degraded: PinListing["degraded"] | null;
  /** What its load failed with. */
  readonly error: string | null;
}

/** One worker's memory. */
export interface WorkerPins {
  readonly worker: number;
  /** "addon", or "portable": then nothing can be locked. */
  readonly door: string;
  readonly doorDegraded: string | null;
  readonly stats: PinStats;
  readonly arena: ArenaStats;
  readonly facts: MemoryFacts;
  readonly home: WorkerHomeReport;
  readonly pressure: {
    readonly action: string;
    readonly trend: string | null;
    /** Of the limit, in use on the machine or in the control group. */
    readonly usedShare: number | null;
    /** Null: not in sight. */
    readonly timeToCriticalMs: number | null;
  };
  /** Actor types with a bound of their own. */
  readonly types: readonly {
    readonly type: string;
    readonly limitBytes: number;
    /** By all workers of the host. */
    readonly usedBytes: number;
    /** Extents of this worker, in memory or on their way. */
    readonly extents: number;
  }[];
  readonly pins: readonly PinRow[];
  /** There are more than `limit`. */
  readonly more: boolean;
}

export interface ExtentRow {
  readonly name: string;
  /** "column", "map" … */
  readonly structure: string;
  /** Of its format. */
  readonly version: number;
  /** False: the actor's definition does not name it any more; it is kept. */
  readonly declared: boolean;
  readonly lengthBytes: number;
  readonly resident: boolean;
  readonly locked: boolean;
  readonly notLocked: LockDenial | null;
  readonly degraded: PinListing["degraded"] | null;
  readonly error: string | null;
  readonly priority: PinPriority | null;
  /** Pages changed since the last checkpoint. */
  readonly dirtyPages: number;
  /** 0 … 1; null for one that is only on disk. */
  readonly heat: number | null;
  /** Of turns since the activation began; null for one that is only on disk. */
  readonly accesses: AccessCounts | null;
  readonly flags: {
    readonly hot: boolean;
    readonly prefetch: boolean;
    /** Null: nobody has decided. */
    readonly hugePages: boolean | null;
    readonly numaNode: number | null;
  };
  readonly attributes: {
    readonly rowGroup: number | null;
    readonly partition: number | null;
    readonly timeBucket: TimeBucket | null;
  };
  /** The strongest first. */
  readonly connections: readonly {
    readonly to: string;
    /** Kinds that were set; empty: it was only learned. */
    readonly set: readonly LinkKind[];
    readonly weight: number;
    readonly learned: number;
  }[];
  /** Room it gains at a time, at most. */
  readonly growBytes: number;
}

export interface ActorExtentsReport {
  /** Actor id, text form. */
  readonly id: string;
  readonly worker: number;
  readonly shard: number;
  /** As of `ActorInspection`. */
  readonly activation: "loading" | "active" | "deactivating" | "ended" | "stored";
  /** Null for a type that is not defined any more. */
  readonly profile: string | null;
  readonly extents: readonly ExtentRow[];
}

/** The store of one shard. */
export interface SegmentsRow {
  readonly shard: number;
  readonly worker: number;
  readonly segments: number;
  readonly livePages: number;
  /** Live pages of all pages its segments have room for. */
  readonly liveShare: number;
  /** Since the worker started. */
  readonly writtenPages: number;
  readonly cleanedPages: number;
  /** Of its newest checkpoint; 0 before the first. */
  readonly sequence: number;
}
