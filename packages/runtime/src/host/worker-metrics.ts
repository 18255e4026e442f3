/** What a worker counts anyway, as metrics: read when somebody asks, free otherwise. */
import type { Telemetry } from "@pinion/core";
import type { Shard } from "../shard/shard.ts";
import type { ActorWorker } from "../worker/actor-worker.ts";

export function observeWorker(worker: ActorWorker, telemetry: Telemetry): void {
  const { core, checkpointer } = worker;
  const gauges: readonly (readonly [name: string, help: string, read: () => number])[] = [
    ["pinion_activations", "Actors in memory", () => core.catalog.size],
    ["pinion_sessions", "Client processes the worker knows", () => worker.sessionCount],
    [
      "pinion_dedupe_entries",
      "Calls whose answers are kept for retries",
      () => sumOver(worker, (shard) => shard.dedupe.size),
    ],
    [
      "pinion_dedupe_bytes",
      "Memory of the calls whose answers are kept for retries",
      () => sumOver(worker, (shard) => shard.dedupe.bytes),
    ],
    ["pinion_outbox_entries", "Sends and effects not delivered yet", () => core.outboxSize],
    [
      "pinion_pending_calls",
      "Calls that change something, admitted and not recorded: in mailboxes, or running",
      () => sumOver(worker, (shard) => shard.pending),
    ],
    ["pinion_waiting_turns", "Turns that have yielded and not ended", () => core.watch.size],
    [
      "pinion_abandoned_turns",
      "Turns given up whose methods have not returned",
      () => core.abandoned.size,
    ],
    ["pinion_checkpoints_total", "Checkpoints written", () => checkpointer.completed],
    [
      "pinion_checkpoint_failing",
      "1 while the last checkpoint failed",
      () => (checkpointer.lastError === undefined ? 0 : 1),
    ],
    [
      "pinion_checkpoint_log_bytes",
      "Log bytes a restart would read",
      () => checkpointer.logBytesSince,
    ],
    [
      "pinion_checkpoint_dirty_bytes",
      "Changed pages of extents that no checkpoint has written",
      () => core.unwritten.bytes,
    ],
    [
      "pinion_checkpoint_copied_bytes",
      "Memory that copies of changed pages take until a checkpoint has written them",
      () => core.unwritten.copiedBytes,
    ],
    ["pinion_recovery_records", "Log records the last start read", () => worker.recovery.records],
    [
      "pinion_recovery_seconds",
      "Time the last start took to recover",
      () => worker.recovery.ms / 1000,
    ],
    [
      "pinion_clock_ahead_seconds",
      "How far the logical clock runs ahead of the wall clock",
      () => core.hlc.aheadMs() / 1000,
    ],
    [
      "pinion_worker_serving",
      "1 while the worker admits calls",
      () => (core.state === "serving" ? 1 : 0),
    ],
  ];
  for (const [name, help, read] of gauges) telemetry.observe(name, help, read);
}

function sumOver(worker: ActorWorker, of: (shard: Shard) => number): number {
  let sum = 0;
  for (const { shard } of worker.core.shards.values()) sum += of(shard);
  return sum;
}
