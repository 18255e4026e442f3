/** What works worse on this machine than it could, what that costs and how to put it right, for `host.degraded`, `/ready` and the command line. */
import {
  memoryDoor,
  nativeDoor,
  parseFlushPolicy,
  platformFeatures,
  type PlatformFeatures,
} from "@pinion/storage";
import type { Degradation } from "../admin/index.ts";
import type { HostLogger } from "../observability/index.ts";
import type { HostMemory } from "../memory/host-memory.ts";

const MIB = 1024 * 1024;

export interface DegradationSources {
  readonly features: PlatformFeatures;
  /** Why the native part is not in use; undefined when it is. */
  readonly nativeDegraded: string | undefined;
  /** Why memory cannot be had from the native part; undefined when it can. */
  readonly memoryDegraded: string | undefined;
  readonly memory: Pick<HostMemory, "pinBytes"> & { readonly lockableBytes: number };
  /** `memoryShortage`. */
  readonly shortage: Degradation | undefined;
  readonly lockEnforced: boolean;
  readonly flush: string;
}

export async function machineDegradations(
  lockEnforced: boolean,
  flush: string,
  memory: HostMemory,
): Promise<readonly Degradation[]> {
  const door = memoryDoor();
  return findDegradations({
    features: await platformFeatures(),
    nativeDegraded: nativeDoor().degraded,
    memoryDegraded: door.degraded,
    memory: { pinBytes: memory.pinBytes, lockableBytes: door.facts().lockableBytes },
    shortage: memoryShortage(memory),
    lockEnforced,
    flush,
  });
}

/** A host that would be killed under load: it is told at the start, for it cannot tell then. */
export function memoryShortage({
  limits,
  neededBytes,
}: Pick<HostMemory, "limits" | "neededBytes">): Degradation | undefined {
  const { limitBytes, limitedBy } = limits;
  if (limitBytes >= neededBytes) return undefined;
  const raise =
    limitedBy === "MemTotal"
      ? "Use a machine with more memory"
      : "Raise the limit of the control group (docker run --memory 1g; systemd: MemoryMax=1G)";
  return {
    what: "memory limit too small",
    why: `${limitedBy} allows ${mib(limitBytes)}, and a host takes up to ${mib(neededBytes)} under load: the system will kill it. ${raise}`,
  };
}

export function warnOfShortage(logger: Pick<HostLogger, "warn">, memory: HostMemory): void {
  const shortage = memoryShortage(memory);
  if (shortage === undefined) return;
  const { limitBytes, limitedBy } = memory.limits;
  const details = { limitBytes, limitedBy, neededBytes: memory.neededBytes };
  logger.warn(`${shortage.what}: ${shortage.why}`, undefined, details);
}

export function findDegradations(sources: DegradationSources): readonly Degradation[] {
  const { nativeDegraded, lockEnforced, flush, shortage } = sources;
  const found: Degradation[] = [];
  if (nativeDegraded !== undefined) found.push({ what: "native part off", why: nativeDegraded });
  if (shortage !== undefined) found.push(shortage);
  found.push(...memoryDegradations(sources));
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

function* memoryDegradations({
  features,
  memoryDegraded,
  memory: { pinBytes, lockableBytes },
}: DegradationSources): Iterable<Degradation> {
  if (pinBytes === 0) {
    yield {
      what: "no memory for pins",
      why: "heaps, buffers and headroom take all there is: extents are read from disk page by page. Give the host more memory, or lower workerHeapBytes; pinion pins shows the sum",
    };
    return;
  }
  // What follows would say nothing new: the portable memory neither locks nor asks for huge pages.
  if (memoryDegraded !== undefined) {
    yield {
      what: "pins not locked",
      why: `${memoryDegraded}: extents are in ordinary buffers, which the system may page out, and load slower. pinion doctor prints the command that builds the native part`,
    };
    return;
  }
  if (lockableBytes < pinBytes) {
    yield {
      what: "pins not locked",
      why: `memlock limit ${mib(lockableBytes)}, while pins may take ${mib(pinBytes)}: what is beyond it is in memory, but the system may page it out. ulimit -l unlimited (systemd: LimitMEMLOCK=infinity; docker run --ulimit memlock=-1)`,
    };
  }
  const { transparentHugePages } = features;
  if (transparentHugePages !== "always" && transparentHugePages !== "madvise") {
    yield {
      what: "no huge pages",
      why: `transparent huge pages are ${transparentHugePages ?? "not available"}: random reads of large extents are about 1.5 times slower. echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled`,
    };
  }
}

const mib = (bytes: number): string => `${Math.floor(bytes / MIB)} MiB`;
