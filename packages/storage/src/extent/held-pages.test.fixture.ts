/** Stored pages that come when a test wants them to, and turns on images of them. */
import type { ExtentChange, ExtentPages } from "../state/state-store.ts";
import { ExtentImage } from "./extent-image.ts";
import { BufferMemory, type ExtentMemory } from "./extent-memory.ts";
import { PAGE_BYTES } from "./extent-pages.ts";
import { ExtentTurn } from "./extent-turn.ts";
import { WriteBudget } from "./write-budget.ts";

export const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const pageOf = (byte: number): Uint8Array => new Uint8Array(PAGE_BYTES).fill(byte);

/** Page n holds n + 1 in every byte. */
export const numbered = (count: number): HeldPages => {
  const stored = new HeldPages();
  for (let i = 0; i < count; i++) stored.pages.set(i, pageOf(i + 1));
  return stored;
};

export class HeldPages implements ExtentPages {
  readonly pages = new Map<number, Uint8Array>();
  /** So many of the next reads are held back until `release`; others take a round of the event loop. */
  hold = 0;
  reads = 0;
  closed = false;
  readonly #held: (() => void)[] = [];

  peek(): undefined {
    return undefined;
  }

  async read(page: number): Promise<Uint8Array | undefined> {
    this.reads++;
    if (this.hold === 0) await tick();
    else {
      this.hold--;
      await new Promise<void>((resolve) => this.#held.push(resolve));
    }
    return this.pages.get(page)?.slice();
  }

  release(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }

  runs(): Promise<never[]> {
    return Promise.resolve([]);
  }

  file(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): void {
    this.closed = true;
  }

  async take(change: ExtentChange): Promise<void> {
    for await (const [page, bytes] of change.pages) this.pages.set(page, bytes.slice());
  }
}

export const memoryOf = (byteCount: number): ExtentMemory =>
  new BufferMemory().allocate(byteCount) as ExtentMemory;

export const turnOn = (image: ExtentImage, readonly = false): ExtentTurn =>
  new ExtentTurn(image, readonly, new WriteBudget());

export function imageOf(kind: string, lengthBytes = 0, stored?: ExtentPages): ExtentImage {
  return new ExtentImage({ name: "x", kind, version: 1 }, lengthBytes, stored);
}

/** One turn. */
export function commit(image: ExtentImage, work: (turn: ExtentTurn) => unknown): void {
  const turn = turnOn(image);
  work(turn);
  end(image, turn);
}

/** One turn that waits. */
export async function commitLater(
  image: ExtentImage,
  work: (turn: ExtentTurn) => Promise<unknown>,
): Promise<void> {
  const turn = turnOn(image);
  await work(turn);
  end(image, turn);
}

function end(image: ExtentImage, turn: ExtentTurn): void {
  if (turn.isWaiting) throw new Error(`a turn of ${image.identity.name} is not whole`);
  const delta = turn.delta();
  if (delta !== undefined) turn.commit(delta);
  turn.end();
}

/** An extent on disk, nothing of it in memory. */
export async function stored(
  kind: string,
  work: (turn: ExtentTurn) => Promise<unknown>,
): Promise<[ExtentImage, HeldPages]> {
  const before = imageOf(kind);
  await commitLater(before, work);
  const pages = new HeldPages();
  const change = before.freeze();
  if (change !== undefined) await pages.take(change);
  const image = imageOf(kind, before.lengthBytes, pages);
  await image.open();
  return [image, pages];
}
