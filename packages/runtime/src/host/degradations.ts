/** What works worse on this machine than it could, and why, for `host.degraded`, `/ready` and the command line. */
import {
  nativeDoor,
  parseFlushPolicy,
  platformFeatures,
  type PlatformFeatures,
} from "@pinion/storage";
import type { Degradation } from "../admin/index.ts";

const MIB = 1024 * 1024;

export interface DegradationSources {
  readonly features: PlatformFeatures;
  /** Why the native part is not in use; undefined when it is. */
  readonly nativeDegraded: string | undefined;
  readonly lockEnforced: boolean;
  readonly flush: string;
}

export async function machineDegradations(
  lockEnforced: boolean,
  flush: string,
): Promise<readonly Degradation[]> {
  return findDegradations({
    features: await platformFeatures(),
    nativeDegraded: nativeDoor().degraded,
    lockEnforced,
    flush,
  });
}

export function findDegradations(sources: DegradationSources): readonly Degradation[] {
  const { features, nativeDegraded, lockEnforced, flush } = sources;
  const found: Degradation[] = [];
  if (nativeDegraded !== undefined) found.push({ what: "native part off", why: nativeDegraded });
  const limit = features.memlockLimitBytes;
  if (!features.memlockUnlimited && limit !== undefined && limit !== Infinity)
    found.push({ what: "pins off", why: `memlock limit ${Math.floor(limit / MIB)} MiB` });
  if (!lockEnforced) {
    found.push({
      what: "data directory lock by name only",
      why: "neither the native part nor the flock command can lock here",
    });
  }
  const policy = parseFlushPolicy(flush);
  if (!policy.replyWaits) {
    found.push({
      what: "durability reduced",
      why: `flush policy ${flush}: replies do not wait for the disk, a power cut loses the last of them`,
    });
  }
  return Object.freeze(found);
}
