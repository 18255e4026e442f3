/** The flush policies every crash simulation runs, with waits short enough for many lives. */
import { flushPolicy, type FlushPolicy } from "@pinion/storage";

export const CUT_POLICIES: readonly FlushPolicy[] = Object.freeze([
  flushPolicy.group,
  flushPolicy.sync,
  flushPolicy.batched(10),
  flushPolicy.batchedOrPeriodic(10, 5),
  flushPolicy.periodic(5),
  flushPolicy.async,
]);
