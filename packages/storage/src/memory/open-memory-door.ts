/** Chooses where memory outside the heap comes from: the addon where it could be built and the kernel is new enough, else ordinary buffers. */
import { messageOf } from "@pinion/core";
import { AddonMemory } from "./addon-memory.ts";
import type { MemoryDoor } from "./memory-door.ts";
import { loadAddon } from "./open-native-door.ts";
import { PortableMemory } from "./portable-memory.ts";

let door: MemoryDoor | undefined;

/** The memory door of this thread; every caller gets the same one. */
export function memoryDoor(): MemoryDoor {
  return (door ??= open());
}

function open(): MemoryDoor {
  const addon = loadAddon();
  if (typeof addon === "string") return new PortableMemory(addon);
  try {
    return new AddonMemory(addon.memory);
  } catch (e) {
    return new PortableMemory(messageOf(e));
  }
}
