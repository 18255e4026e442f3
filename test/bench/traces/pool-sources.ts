/** What the benches need of the storage package beyond its public entry. */
import type * as Crc from "../../../packages/storage/src/memory/crc32c.ts";
import type * as Door from "../../../packages/storage/src/memory/open-memory-door.ts";
import type * as Contract from "../../../packages/storage/src/memory/memory-door.ts";
import type * as Arc from "../../../packages/storage/src/pool/arc-policy.ts";
import type * as Pool from "../../../packages/storage/src/pool/buffer-pool.ts";
import type * as Frames from "../../../packages/storage/src/pool/frame-store.ts";
import type * as Io from "../../../packages/storage/src/pool/io-scheduler.ts";
import type * as Read from "../../../packages/storage/src/pool/read-vectored.ts";
import type * as S3Fifo from "../../../packages/storage/src/pool/s3-fifo-policy.ts";
import type * as Steered from "../../../packages/storage/src/pool/steered-policy.ts";

export type Region = Contract.Region;
export type BufferPool = Pool.BufferPool;

// Imported by address, so that the types come from the package's build and the code from its sources.
const from = (name: string): string =>
  new URL(`../../../packages/storage/src/${name}.ts`, import.meta.url).href;

export const { crc32c } = (await import(from("memory/crc32c"))) as typeof Crc;
export const { memoryDoor } = (await import(from("memory/open-memory-door"))) as typeof Door;
export const { ArcPolicy } = (await import(from("pool/arc-policy"))) as typeof Arc;
export const { BufferPool } = (await import(from("pool/buffer-pool"))) as typeof Pool;
export const { RegionFrames } = (await import(from("pool/frame-store"))) as typeof Frames;
export const { IoScheduler } = (await import(from("pool/io-scheduler"))) as typeof Io;
export const { readVectored } = (await import(from("pool/read-vectored"))) as typeof Read;
export const { S3FifoPolicy } = (await import(from("pool/s3-fifo-policy"))) as typeof S3Fifo;
export const { SteeredPolicy, STEERED_DEFAULTS } = (await import(
  from("pool/steered-policy")
)) as typeof Steered;
