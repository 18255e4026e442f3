/**
 * Dates and binary arrays in a draft. JavaScript cannot intercept what is written into them, so a method gets a copy,
 * which is compared with the original when the turn ends. In a readonly turn a copy that was written is an error.
 */
import { DraftNode, type Session } from "./draft-node.ts";
import { PatchOp, type Patch, type Step } from "./patch-format.ts";

export type BinaryLeaf = ArrayBufferView | ArrayBuffer;
export type Leaf = Date | BinaryLeaf;

export function isBinary(value: object): value is BinaryLeaf {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer;
}

/** All bytes of a binary value, over its memory. */
export function bytesOf(value: BinaryLeaf): Uint8Array {
  return value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

type BinaryConstructor = new (buffer: ArrayBuffer) => BinaryLeaf;

/** A copy with memory of its own, as the codec gives it back: a Buffer becomes a Uint8Array, a subclass its base class. */
export function copyLeaf(leaf: Leaf): Leaf {
  if (leaf instanceof Date) return new Date(leaf.getTime());
  const bytes = bytesOf(leaf);
  const buffer = new ArrayBuffer(bytes.length);
  new Uint8Array(buffer).set(bytes);
  if (leaf instanceof ArrayBuffer) return buffer;
  const name = Object.prototype.toString.call(leaf).slice("[object ".length, -1);
  return new (globalThis as unknown as Readonly<Record<string, BinaryConstructor>>)[name]!(buffer);
}

export class LeafDraft extends DraftNode {
  readonly view: Leaf;
  #settled: Leaf | undefined;

  constructor(session: Session, parent: DraftNode | undefined, slot: unknown, base: Leaf) {
    super(session, parent, slot, base);
    this.view = copyLeaf(base);
  }

  /** Bytes are sent as the range that differs. */
  override get nested(): boolean {
    return !(this.base instanceof Date) && this.#sameLength;
  }

  get #sameLength(): boolean {
    return (this.view as BinaryLeaf).byteLength === (this.base as BinaryLeaf).byteLength;
  }

  /** Notices what was written into the copy since last asked. */
  get written(): boolean {
    const { base, view } = this;
    if (base instanceof Date) return !Object.is(base.getTime(), (view as Date).getTime());
    return (
      !this.#sameLength ||
      Buffer.compare(bytesOf(base as BinaryLeaf), bytesOf(view as BinaryLeaf)) !== 0
    );
  }

  /** The copy belongs to the method, which may write it again: what is committed is another one. */
  override settle(): object {
    this.#settled = copyLeaf(this.view);
    return this.#settled;
  }

  override describe(patch: Patch, path: readonly Step[]): void {
    const [start, end] = differingRange(
      bytesOf(this.base as BinaryLeaf),
      bytesOf(this.#settled as BinaryLeaf),
    );
    if (start === end) return;
    patch.add(
      path,
      PatchOp.bytes,
      start,
      bytesOf(this.#settled as BinaryLeaf).subarray(start, end),
    );
  }

  protected override adopt(): void {}

  protected override stepName(): string {
    return "";
  }
}

/** First and last + 1 byte in which two arrays of one length differ; native comparison, halving the range. */
export function differingRange(a: Uint8Array, b: Uint8Array): [start: number, end: number] {
  const differ = (from: number, to: number): boolean =>
    Buffer.compare(a.subarray(from, to), b.subarray(from, to)) !== 0;
  if (!differ(0, a.length)) return [0, 0];
  let low = 0;
  for (let high = a.length; high - low > 1;) {
    const middle = (low + high) >>> 1;
    if (differ(low, middle)) high = middle;
    else low = middle;
  }
  const start = low;
  let high = a.length;
  for (low = start; high - low > 1;) {
    const middle = (low + high) >>> 1;
    if (differ(middle, high)) low = middle;
    else high = middle;
  }
  return [start, high];
}
