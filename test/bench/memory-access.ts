/** Memory outside the heap, for suites that measure it below the package's public entry. */
import type * as Open from "../../packages/storage/src/memory/open-memory-door.ts";
import type * as Native from "../../packages/storage/src/memory/open-native-door.ts";
import type * as Contract from "../../packages/storage/src/memory/memory-door.ts";

export type Region = Contract.Region;
export type LoadRun = Contract.LoadRun;

const inside = (name: string): string =>
  new URL(`../../packages/storage/src/memory/${name}.ts`, import.meta.url).href;
export const { CHUNK_BYTES } = (await import(inside("memory-door"))) as typeof Contract;
export const { memoryDoor } = (await import(inside("open-memory-door"))) as typeof Open;
const { loadAddon } = (await import(inside("open-native-door"))) as typeof Native;

/** The addon's own functions, for floors. */
export function memoryAddon(): Exclude<ReturnType<typeof loadAddon>, string>["memory"] {
  const addon = loadAddon();
  if (typeof addon === "string") throw new Error(`this suite measures the addon: ${addon}`);
  return addon.memory;
}
