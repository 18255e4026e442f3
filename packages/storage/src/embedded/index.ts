/** The store that a program has inside itself: volumes of structures, durable and alone. */
export { openStore, openStoreOn } from "./open-store.ts";
export { type Store, type OpenVolumeOptions, type StoreStats } from "./store.ts";
export type { StoreOptions, StorePorts, StoreSettings } from "./store-options.ts";
export type { StoreMemoryStats } from "./store-memory.ts";
export type { TurnOptions, Volume, VolumeWork } from "./volume.ts";
export type { VolumeListOptions } from "./volume-list.ts";
