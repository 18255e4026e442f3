/**
 * The options of a host: what each is, its bounds and default, and how they are read from code, environment and file. What
 * only concerns one actor type is in its definition; what a cluster must agree on is fixed when its data is created.
 */
import {
  parseActorId,
  resolveOptions,
  type OptionLayers,
  type OptionSet,
  type ResolvedOptions,
} from "@pinion/core";
import {
  FLUSH_POLICY_FORMS,
  MIGRATION_POLICIES,
  parseFlushPolicy,
  type MigrationPolicy,
} from "@pinion/storage";
import { NUMA_AFFINITIES, type NumaAffinity } from "../memory/worker-home.ts";
import type { LogFormat, LogLevel } from "../observability/index.ts";
import {
  address,
  bytes,
  count,
  flag,
  ms,
  oneOf,
  optionalBytes,
  optionalPath,
  optionalText,
  path,
  share,
  text,
} from "./option-kinds.ts";

/** @throws `invalid-actor-id` */
export function actorIdsOf(text: string): string[] {
  const ids = text.split(/\s+/).filter((id) => id !== "");
  ids.forEach(parseActorId);
  return ids;
}

/** Resolved: complete and checked. The comments are the descriptions of docs/configuration.md, word for word. */
export interface HostOptions {
  /** Where the host keeps its data; relative paths start at the working directory. */
  readonly dataDir: string;
  /** Address the gateway listens on for clients. */
  readonly listenHost: string;
  /** Port of the gateway; 0 takes any free one. */
  readonly port: number;
  /** Address of health, metrics and administration. */
  readonly adminHost: string;
  /** Port of health, metrics and administration; 0 takes any free one. */
  readonly adminPort: number;
  /** Lets gateway and administration listen beyond this machine without encryption: only on a network you trust. */
  readonly insecurePlaintext: boolean;
  /** Number of shards, fixed when the data directory is created. */
  readonly shardCount: number;
  /** When the log flushes: how long an answer waits against what a power cut may take. */
  readonly flushPolicy: string;
  /** Size of a log segment file; applies to new ones. */
  readonly segmentBytes: number;
  /** Size of each of the log's two staging buffers: more absorbs longer bursts, and costs memory. */
  readonly stagingBytes: number;
  /** Folder to which finished log segments are copied. */
  readonly archiveDir: string | undefined;
  /** Log written since the last checkpoint that starts the next: less means a faster restart and more writing. */
  readonly checkpointLogBytes: number;
  /** Changed pages of extents that start a checkpoint; while there are twice as many, calls of actors with extents wait. */
  readonly checkpointDirtyBytes: number;
  /** Longest time a change waits for a checkpoint. */
  readonly checkpointDirtyMs: number;
  /** Longest time a turn may take while it yields, for actor types that set none. */
  readonly maxTurnMs: number;
  /** Calls that may wait for one actor, for actor types that set none; one more is answered `overloaded`. */
  readonly mailboxLength: number;
  /** Idle time after which an actor leaves memory, for actor types that set none. */
  readonly idleDeactivationMs: number;
  /** Actors kept in memory; beyond it the one used longest ago leaves. */
  readonly activationsMax: number;
  /** Client processes that have changed something and that a worker knows at once; a changing call of one more is answered `overloaded`. Silent ones are forgotten after twice `sessionExpiryMs`. */
  readonly sessionsMax: number;
  /** Calls of all clients of a worker that may be unanswered; more are answered `overloaded`. */
  readonly inFlightCallsMax: number;
  /** Changing calls of one shard that may be admitted and not yet logged; more are answered `overloaded`. */
  readonly pendingPerShardMax: number;
  /** Sends that may be undelivered on the host; beyond it calls that could add more are answered `overloaded`. */
  readonly outboxMax: number;
  /** Largest message of a client or of an answer to it. */
  readonly frameBytesMax: number;
  /** Silence after which a client's session is forgotten; a retry later than that is `outcome-unknown`. */
  readonly sessionExpiryMs: number;
  /** Answers kept for the retries of one client. */
  readonly sessionBytesMax: number;
  /** Answers kept for the retries of all clients of one shard. */
  readonly shardSessionBytesMax: number;
  /** How far ahead reminders are held in memory; those due later are read when their time comes near. */
  readonly reminderHorizonMs: number;
  /** Damaged actors to give up at this start, ids with spaces between: they lose what they had, and the log is no longer kept for them. */
  readonly discardActors: string | undefined;
  /** How far a peer's clock may run ahead before it is refused. */
  readonly maxClockSkewMs: number;
  /** How long a stop, a reload or a drain waits for calls and turns to end. */
  readonly stopGraceMs: number;
  /** How long a worker's event loop may be blocked before the worker is replaced; hosts of values are never. */
  readonly blockedRestartMs: number;
  /** JavaScript heap of a worker thread. */
  readonly workerHeapBytes: number;
  /** Part of the memory that is left for data in which extents of active actors are kept, pinned. */
  readonly pinShare: number;
  /** Most memory that pinned extents take, whatever `pinShare` allows. */
  readonly pinBytesMax: number | undefined;
  /** Most memory of a worker for pages of extents that are not pinned; it takes less where the machine has less. */
  readonly poolBytesMax: number;
  /** Heat from which an extent is pinned, or lifted, to `query-critical`; lower pins more. */
  readonly adaptivePromoteHeat: number;
  /** Heat from which an extent is lifted to `tail-latency-critical`. */
  readonly adaptiveCriticalHeat: number;
  /** Share of the pin budget above which cold extents leave it. */
  readonly adaptiveBudgetPressure: number;
  /** Major page faults a second above which extents of half the heat are pinned, too. */
  readonly adaptiveFaultsPerSecond: number;
  /** Share of the memory of extents on other NUMA nodes above which extents are brought home. */
  readonly adaptiveNumaMiss: number;
  /** How long after its start a host only learns what is hot, unless the pin budget is short. */
  readonly adaptiveLearningMs: number;
  /** How often it is looked at which extents are on the wrong NUMA node. */
  readonly adaptiveRebalanceMs: number;
  /** Whether the threads of a worker run on the processors of one NUMA node, its own: `auto` on machines with several nodes, `off` never. */
  readonly numaAffinity: NumaAffinity;
  /** Which extents move when their memory is on the wrong NUMA node: `proactive` all, `on-access` those that are used, `disabled` none. */
  readonly numaMigration: MigrationPolicy;
  /** Least urgent lines that are logged. */
  readonly logLevel: LogLevel;
  /** Lines for people, or one JSON object each for a log collector. */
  readonly logFormat: LogFormat;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const PORT = { min: 0, max: 65_535 };
const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|::1|localhost)$/;

export const HOST_OPTIONS: OptionSet<HostOptions> = {
  section: "host",
  otherVariables: ["PINION_CONFIG_FILE"],
  definitions: {
    dataDir: path(
      "Where the host keeps its data; relative paths start at the working directory.",
      "./.pinion",
    ),
    listenHost: address("Address the gateway listens on for clients.", "127.0.0.1"),
    port: count("Port of the gateway; 0 takes any free one.", 7465, PORT),
    adminHost: address("Address of health, metrics and administration.", "127.0.0.1"),
    adminPort: count(
      "Port of health, metrics and administration; 0 takes any free one.",
      7466,
      PORT,
    ),
    insecurePlaintext: flag(
      "Lets gateway and administration listen beyond this machine without encryption: only on a network you trust.",
    ),
    shardCount: count("Number of shards, fixed when the data directory is created.", 16, {
      min: 1,
      max: 65_536,
    }),
    flushPolicy: text(
      "When the log flushes: how long an answer waits against what a power cut may take.",
      "group",
      `one of ${FLUSH_POLICY_FORMS.join(", ")}, with other numbers`,
      parseFlushPolicy,
    ),
    segmentBytes: bytes("Size of a log segment file; applies to new ones.", 64 * MIB, {
      min: 64 * KIB,
      max: GIB,
      multipleOf: 4 * KIB,
    }),
    stagingBytes: bytes(
      "Size of each of the log's two staging buffers: more absorbs longer bursts, and costs memory.",
      8 * MIB,
      { min: 16 * KIB, max: 256 * MIB, multipleOf: 8 },
    ),
    archiveDir: optionalPath("Folder to which finished log segments are copied."),
    checkpointLogBytes: bytes(
      "Log written since the last checkpoint that starts the next: less means a faster restart and more writing.",
      128 * MIB,
      { min: MIB, max: 1024 * GIB },
    ),
    checkpointDirtyBytes: bytes(
      "Changed pages of extents that start a checkpoint; while there are twice as many, calls of actors with extents wait.",
      512 * MIB,
      { min: MIB, max: 1024 * GIB },
    ),
    checkpointDirtyMs: ms("Longest time a change waits for a checkpoint.", MINUTE, {
      min: 100,
      max: DAY,
    }),
    maxTurnMs: ms(
      "Longest time a turn may take while it yields, for actor types that set none.",
      30 * SECOND,
      { min: 10, max: DAY },
    ),
    mailboxLength: count(
      "Calls that may wait for one actor, for actor types that set none; one more is answered `overloaded`.",
      1_024,
      { min: 1, max: 1_000_000 },
    ),
    idleDeactivationMs: ms(
      "Idle time after which an actor leaves memory, for actor types that set none.",
      5 * MINUTE,
      { min: 100, max: 365 * DAY },
    ),
    activationsMax: count(
      "Actors kept in memory; beyond it the one used longest ago leaves.",
      200_000,
      { min: 1, max: 100_000_000 },
    ),
    sessionsMax: count(
      "Client processes that have changed something and that a worker knows at once; a changing call of one more is answered `overloaded`. Silent ones are forgotten after twice `sessionExpiryMs`.",
      100_000,
      { min: 1, max: 100_000_000 },
    ),
    inFlightCallsMax: count(
      "Calls of all clients of a worker that may be unanswered; more are answered `overloaded`.",
      65_536,
      { min: 1, max: 16_777_216 },
    ),
    pendingPerShardMax: count(
      "Changing calls of one shard that may be admitted and not yet logged; more are answered `overloaded`.",
      20_000,
      { min: 1, max: 10_000_000 },
    ),
    outboxMax: count(
      "Sends that may be undelivered on the host; beyond it calls that could add more are answered `overloaded`.",
      200_000,
      { min: 1, max: 10_000_000 },
    ),
    frameBytesMax: bytes("Largest message of a client or of an answer to it.", 4 * MIB, {
      min: 256 * KIB,
      max: GIB,
    }),
    sessionExpiryMs: ms(
      "Silence after which a client's session is forgotten; a retry later than that is `outcome-unknown`.",
      HOUR,
      { min: MINUTE, max: 365 * DAY },
    ),
    sessionBytesMax: bytes("Answers kept for the retries of one client.", 8 * MIB, {
      min: 64 * KIB,
      max: 64 * GIB,
    }),
    shardSessionBytesMax: bytes(
      "Answers kept for the retries of all clients of one shard.",
      32 * MIB,
      { min: 64 * KIB, max: 64 * GIB },
    ),
    reminderHorizonMs: ms(
      "How far ahead reminders are held in memory; those due later are read when their time comes near.",
      5 * MINUTE,
      { min: SECOND, max: DAY },
    ),
    discardActors: optionalText(
      "Damaged actors to give up at this start, ids with spaces between: they lose what they had, and the log is no longer kept for them.",
      "actors as type/key, with spaces between",
      actorIdsOf,
    ),
    maxClockSkewMs: ms("How far a peer's clock may run ahead before it is refused.", 10 * SECOND, {
      min: 100,
      max: HOUR,
    }),
    stopGraceMs: ms(
      "How long a stop, a reload or a drain waits for calls and turns to end.",
      5 * SECOND,
      { min: 0, max: HOUR },
    ),
    blockedRestartMs: ms(
      "How long a worker's event loop may be blocked before the worker is replaced; hosts of values are never.",
      10 * SECOND,
      { min: 100, max: HOUR },
    ),
    workerHeapBytes: bytes("JavaScript heap of a worker thread.", 2 * GIB, {
      min: 64 * MIB,
      max: 1024 * GIB,
    }),
    pinShare: share(
      "Part of the memory that is left for data in which extents of active actors are kept, pinned.",
      0.4,
      { min: 0, max: 0.8 },
    ),
    pinBytesMax: optionalBytes(
      "Most memory that pinned extents take, whatever `pinShare` allows.",
      { min: 0, max: 1024 * GIB },
    ),
    poolBytesMax: bytes(
      "Most memory of a worker for pages of extents that are not pinned; it takes less where the machine has less.",
      512 * MIB,
      { min: MIB, max: 1024 * GIB },
    ),
    adaptivePromoteHeat: share(
      "Heat from which an extent is pinned, or lifted, to `query-critical`; lower pins more.",
      0.7,
      { min: 0.5, max: 1 },
    ),
    adaptiveCriticalHeat: share(
      "Heat from which an extent is lifted to `tail-latency-critical`.",
      0.9,
      { min: 0.5, max: 1 },
    ),
    adaptiveBudgetPressure: share(
      "Share of the pin budget above which cold extents leave it.",
      0.85,
      { min: 0, max: 1 },
    ),
    adaptiveFaultsPerSecond: count(
      "Major page faults a second above which extents of half the heat are pinned, too.",
      1_000,
      { min: 0, max: 1_000_000_000 },
    ),
    adaptiveNumaMiss: share(
      "Share of the memory of extents on other NUMA nodes above which extents are brought home.",
      0.3,
      { min: 0, max: 1 },
    ),
    adaptiveLearningMs: ms(
      "How long after its start a host only learns what is hot, unless the pin budget is short.",
      30 * MINUTE,
      { min: 0, max: DAY },
    ),
    adaptiveRebalanceMs: ms(
      "How often it is looked at which extents are on the wrong NUMA node.",
      10 * MINUTE,
      { min: SECOND, max: DAY },
    ),
    numaAffinity: oneOf(
      "Whether the threads of a worker run on the processors of one NUMA node, its own: `auto` on machines with several nodes, `off` never.",
      "auto",
      NUMA_AFFINITIES,
    ),
    numaMigration: oneOf(
      "Which extents move when their memory is on the wrong NUMA node: `proactive` all, `on-access` those that are used, `disabled` none.",
      "proactive",
      MIGRATION_POLICIES,
    ),
    logLevel: oneOf("Least urgent lines that are logged.", "info", [
      "debug",
      "info",
      "warn",
      "error",
      "silent",
    ]),
    logFormat: oneOf("Lines for people, or one JSON object each for a log collector.", "text", [
      "text",
      "json",
    ]),
  },
  relations: [
    {
      keys: ["port", "adminPort"],
      rule: "port ≠ adminPort, unless both are 0",
      holds: (o) => o.port !== o.adminPort || o.port === 0,
    },
    {
      keys: ["listenHost", "insecurePlaintext"],
      rule: "listenHost is a loopback address, or insecurePlaintext is true",
      holds: (o) => o.insecurePlaintext || LOOPBACK.test(o.listenHost),
    },
    {
      keys: ["adminHost", "insecurePlaintext"],
      rule: "adminHost is a loopback address, or insecurePlaintext is true",
      holds: (o) => o.insecurePlaintext || LOOPBACK.test(o.adminHost),
    },
    {
      keys: ["stagingBytes", "segmentBytes"],
      rule: "stagingBytes ≤ segmentBytes",
      holds: (o) => o.stagingBytes <= o.segmentBytes,
    },
    {
      keys: ["checkpointLogBytes", "segmentBytes"],
      rule: "checkpointLogBytes ≥ segmentBytes",
      holds: (o) => o.checkpointLogBytes >= o.segmentBytes,
    },
    {
      keys: ["sessionBytesMax", "shardSessionBytesMax"],
      rule: "sessionBytesMax ≤ shardSessionBytesMax",
      holds: (o) => o.sessionBytesMax <= o.shardSessionBytesMax,
    },
    {
      keys: ["adaptivePromoteHeat", "adaptiveCriticalHeat"],
      rule: "adaptivePromoteHeat ≤ adaptiveCriticalHeat",
      holds: (o) => o.adaptivePromoteHeat <= o.adaptiveCriticalHeat,
    },
  ],
};

/** The options a host is given: any of them, sizes and durations also as text with a unit (`"64MiB"`, `"10ms"`). */
export type HostOptionsGiven = {
  readonly [K in keyof HostOptions]?: HostOptions[K] | string | undefined;
};

/** @throws `config-invalid` naming the key, the value, where it stands, and what it must be */
export function resolveHostOptions(layers: OptionLayers = {}): ResolvedOptions<HostOptions> {
  return resolveOptions(HOST_OPTIONS, layers);
}
