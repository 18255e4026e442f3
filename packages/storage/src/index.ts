export * from "./disk/disk.ts";
export { lockDataDir, type DataDirLock } from "./disk/data-dir-lock.ts";
export { RealDisk } from "./disk/real-disk.ts";
export { SimDisk, type SimCrashOptions, type SimDiskOptions } from "./disk/sim-disk.ts";
export type { SimFaultRule, SimOperation, SimOperationKind, SimOptions } from "./disk/sim-operations.ts";
export * from "./kv/kv-store.ts";
export { SimKv, type SimKvOptions } from "./kv/sim-kv.ts";
export { crc32c } from "./memory/crc32c.ts";
export type { NativeDoor } from "./memory/native-door.ts";
export { nativeDoor } from "./memory/open-native-door.ts";
export {
  fileSystemFeatures,
  platformFeatures,
  type FileSystemFeatures,
  type PlatformFeatures,
} from "./memory/platform-features.ts";
export { PortableDoor } from "./memory/portable-door.ts";
export { RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, recordChecksum, sealRecords } from "./memory/seal-records.ts";
