/** An extent over several turns, and bytes that are wrong. */
import { isPinionError } from "@pinion/core";
import { expect } from "vitest";
import { MemoryExtent } from "../extent/memory-extent.ts";
import type { StructureDefinition } from "./structure.ts";

/** A structure whose turns follow each other: each begins with the bytes that the one before left. */
export class Turns<Handle> {
  readonly definition: StructureDefinition<Handle>;
  readonly resident: boolean;
  extent: MemoryExtent;
  handle: Handle;

  constructor(definition: StructureDefinition<Handle>, resident: boolean, bytes?: Uint8Array) {
    this.definition = definition;
    this.resident = resident;
    this.extent = new MemoryExtent({ resident, ...(bytes && { bytes }) });
    this.handle = definition.open(this.extent);
  }

  next(): Handle {
    const { bytes, holds } = this.extent;
    if (holds !== 0) throw new Error("the turn ends while something is not whole");
    this.extent.end();
    this.extent = new MemoryExtent({ bytes, resident: this.resident });
    return (this.handle = this.definition.open(this.extent));
  }
}

/** What reading damaged bytes may say. */
const DAMAGE = new Set(["corruption", "format-too-new"]);

/** Runs what may meet damage. Anything but a result or one of our errors is a failure. */
export async function expectContained(
  run: () => unknown,
  alsoAllowed: readonly string[] = [],
): Promise<void> {
  try {
    await run();
  } catch (e) {
    if (!isPinionError(e)) throw e;
    if (!DAMAGE.has(e.code) && !alsoAllowed.includes(e.code)) throw e;
  }
}

export async function expectCode(run: () => unknown, code: string): Promise<void> {
  let thrown: unknown;
  try {
    await run();
  } catch (e) {
    thrown = e;
  }
  expect(isPinionError(thrown) ? thrown.code : thrown).toBe(code);
}

/** One way in which bytes can be wrong, by three numbers. */
export function damage(bytes: Uint8Array, how: number, where: number, what: number): Uint8Array {
  const at = bytes.length === 0 ? 0 : where % bytes.length;
  const copy = bytes.slice();
  switch (how % 5) {
    case 0:
      copy[at]! ^= 1 << (what & 7);
      return copy;
    case 1:
      return copy.subarray(0, at);
    case 2: // in the first kilobyte, where structure is
      copy[where % Math.min(1024, copy.length)] = what & 0xff;
      return copy;
    case 3:
      new DataView(copy.buffer).setUint32(
        Math.max(0, Math.min(at & ~3, copy.length - 4)),
        what,
        true,
      );
      return copy;
    default: {
      const end = Math.min(copy.length, at + (what & 0xff));
      for (let i = at; i < end; i++) copy[i] = Math.imul(i + what, 0x9e3779b1) >>> 24;
      return copy;
    }
  }
}
