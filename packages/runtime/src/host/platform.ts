/** What a host needs of the machine, checked before anything is touched. */
import { PinionError } from "@pinion/core";

/** The published packages' `engines`. */
const NODE_MAJOR_MIN = 24;
/** Linux has everything; macOS runs on the portable fallback of the native part. */
const SYSTEMS: ReadonlySet<string> = new Set(["linux", "darwin"]);

export interface Platform {
  readonly system: string;
  readonly node: string;
}

export const thisPlatform = (): Platform => ({
  system: process.platform,
  node: process.versions.node,
});

/** @throws `unsupported-platform` */
export function assertPlatform({ system, node }: Platform = thisPlatform()): void {
  if (!SYSTEMS.has(system)) {
    throw new PinionError(
      "unsupported-platform",
      `Pinion hosts run on Linux (and, without the native part, on macOS), not on ${system}; clients run anywhere`,
      { details: { system } },
    );
  }
  const major = Number.parseInt(node, 10);
  if (major < NODE_MAJOR_MIN) {
    throw new PinionError(
      "unsupported-platform",
      `Pinion needs Node ${NODE_MAJOR_MIN} or newer; this is Node ${node}`,
      { details: { node, needed: NODE_MAJOR_MIN } },
    );
  }
}
