export type { DurableCell } from "./embedded/durable-cell.ts";
export { MemoryCell } from "./embedded/durable-cell.ts";
export {
  openEmbeddedCluster,
  type EmbeddedCluster,
  type EmbeddedClusterOptions,
} from "./embedded/embedded-cluster.ts";
export type { Member, Membership, MembershipView, MemberWorker } from "./membership/membership.ts";
export {
  shardsOf,
  type ShardMap,
  type ShardMapView,
  type ShardOwner,
} from "./shard-map/shard-map.ts";
