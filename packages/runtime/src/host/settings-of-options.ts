/** A host's options in the terms of the parts that use them. */
import { hostMemoryPlan, type HostMemoryPlan } from "../memory/host-memory.ts";
import { actorIdsOf, type HostOptions } from "./host-options.ts";
import type { HostSettings } from "./host-settings.ts";

/** Workers of a host: nothing but this number assumes there is one. */
const WORKERS = 1;

export function settingsOf(options: HostOptions): HostSettings {
  const { insecurePlaintext, segmentBytes } = options;
  return {
    dataDir: options.dataDir,
    workers: WORKERS,
    gateway: {
      host: options.listenHost,
      port: options.port,
      insecurePlaintext,
      maxInFlight: options.inFlightCallsMax,
      maxFrameBytes: options.frameBytesMax,
    },
    admin: { host: options.adminHost, port: options.adminPort, insecurePlaintext },
    log: {
      flush: options.flushPolicy,
      segmentBytes,
      stagingBytes: options.stagingBytes,
      archiveDir: options.archiveDir,
    },
    worker: {
      shardCount: options.shardCount,
      typeDefaults: {
        maxTurnMs: options.maxTurnMs,
        mailboxLength: options.mailboxLength,
        idleDeactivationMs: options.idleDeactivationMs,
      },
      dedupe: {
        sessionBytesMax: options.sessionBytesMax,
        shardBytesMax: options.shardSessionBytesMax,
        sessionExpiryMs: options.sessionExpiryMs,
      },
      checkpoint: {
        logBytes: options.checkpointLogBytes,
        dirtyBytes: options.checkpointDirtyBytes,
        dirtyMs: options.checkpointDirtyMs,
        segmentBytes,
      },
      reminderHorizonMs: options.reminderHorizonMs,
      pendingPerShardMax: options.pendingPerShardMax,
      outboxMax: options.outboxMax,
      activationsMax: options.activationsMax,
      sessionsMax: options.sessionsMax,
      maxClockSkewMs: options.maxClockSkewMs,
      discard: actorIdsOf(options.discardActors ?? ""),
      poisoned: new Set(),
    },
    memory: {
      pinShare: options.pinShare,
      pinBytesMax: options.pinBytesMax,
      poolBytesMax: options.poolBytesMax,
    },
    adaptive: {
      promoteHeat: options.adaptivePromoteHeat,
      criticalHeat: options.adaptiveCriticalHeat,
      budgetPressure: options.adaptiveBudgetPressure,
      faultsPerSecond: options.adaptiveFaultsPerSecond,
      numaMiss: options.adaptiveNumaMiss,
      migration: options.numaMigration,
      learningMs: options.adaptiveLearningMs,
      rebalanceMs: options.adaptiveRebalanceMs,
    },
    numaAffinity: options.numaAffinity,
    logLevel: options.logLevel,
    logFormat: options.logFormat,
    stopGraceMs: options.stopGraceMs,
    blockedRestartMs: options.blockedRestartMs,
    workerHeapBytes: options.workerHeapBytes,
  };
}

/** What a host with these options would do with the memory of this machine. */
export function memoryPlanOf(options: HostOptions): HostMemoryPlan {
  const { memory, workers, workerHeapBytes } = settingsOf(options);
  return hostMemoryPlan(memory, workers, workerHeapBytes);
}
