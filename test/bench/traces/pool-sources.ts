/** What the benches need of the storage package beyond its public entry: the yardsticks and the policy that ships, by itself. */
import type * as Arc from "../../../packages/storage/src/pool/arc-policy.ts";
import type * as S3Fifo from "../../../packages/storage/src/pool/s3-fifo-policy.ts";
import type * as Steered from "../../../packages/storage/src/pool/steered-policy.ts";

// Imported by address, so that the types come from the package's build and the code from its sources.
const from = (name: string): string =>
  new URL(`../../../packages/storage/src/pool/${name}.ts`, import.meta.url).href;

export const { ArcPolicy } = (await import(from("arc-policy"))) as typeof Arc;
export const { S3FifoPolicy } = (await import(from("s3-fifo-policy"))) as typeof S3Fifo;
export const { SteeredPolicy, STEERED_DEFAULTS } = (await import(
  from("steered-policy")
)) as typeof Steered;
