/** Memory of extents that is taken and given at any time: what was let go of is really gone, and does not always grow. */
import type { Rng } from "@pinion/core";
import { PAGE_BYTES, type ExtentImage, type ExtentMemory } from "@pinion/storage";
import { pause } from "./structure-model.ts";

type FillPages = Parameters<ExtentImage["load"]>[1];

export class PassingMemory implements ExtentMemory {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #rng: Rng;
  #released = false;

  constructor(rng: Rng, byteCount: number) {
    this.#rng = rng;
    this.bytes = new Uint8Array(Math.ceil(byteCount / PAGE_BYTES) * PAGE_BYTES);
  }

  larger(byteCount: number): ExtentMemory | undefined {
    return this.#rng.below(3) === 0 ? undefined : new PassingMemory(this.#rng, byteCount);
  }

  release(): void {
    if (this.#released) throw new Error("memory was released twice");
    this.#released = true;
    // Whoever looks at it now finds nothing.
    this.bytes.buffer.transfer();
  }
}

/** Brings an extent in, beside whatever goes on. @returns whether it is in memory now */
export async function bringIn(image: ExtentImage, rng: Rng): Promise<boolean> {
  const pages = Math.ceil(image.lengthBytes / PAGE_BYTES) + rng.below(8);
  const memory = new PassingMemory(rng, pages * PAGE_BYTES);
  const fill: FillPages = async (into, stored, pageCount) => {
    await pause(rng);
    await Promise.all(
      Array.from({ length: pageCount }, async (_, page) => {
        const bytes = await stored.read(page);
        if (bytes !== undefined) into.set(bytes, page * PAGE_BYTES);
      }),
    );
    await pause(rng);
  };
  const isKept = await image.load(memory, fill);
  if (!isKept) memory.release();
  return isKept;
}

/** Takes the memory of an extent at once, without waiting for what it has to write. Resolves once that is free. */
export async function takeOut(image: ExtentImage): Promise<void> {
  const memory = image.demote();
  await image.references.whenNone();
  memory?.release();
}

/** As `takeOut`, as a host does it: what has changed is written, or copied page by page. */
export async function retire(image: ExtentImage, rng: Rng): Promise<void> {
  const memory = await image.retire(() => pause(rng), 2);
  await image.references.whenNone();
  memory?.release();
}
