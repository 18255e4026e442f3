/**
 * What the cells of a B+tree's nodes hold. Leaves: u8 0 and the value, or u8 1, u32 length, u48 first page of the run of pages that the value lies
 * in: one too long for its cell (`CELL_BYTES_MAX`). Inner nodes: u48 page of the child.
 */
import { PinionError } from "@pinion/core";
import { getU48, PAGE_BYTES, putU48 } from "../segment/page-entry.ts";
import { NODE_ROOM_BYTES, NodeView } from "./slotted-page.ts";

/** At least two cells with such keys fit into a node. */
export const TREE_KEY_BYTES_MAX = 2_000;
/** A cell beyond this has its value in a run, so that at least three cells fit into a node unless their keys are long. */
export const CELL_BYTES_MAX = Math.floor(NODE_ROOM_BYTES / 3);
const INLINE = 0;
const IN_RUN = 1;
const RUN_CELL_BYTES = 11;

interface Keyed {
  readonly key: Uint8Array;
}

/** A child, and which of some keys belong below it. */
export interface Share {
  readonly slot: number;
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/** Deals the keys `from` … `to − 1`, which are in order and belong below an inner node, out to its children. */
export function* sharesOf(
  node: NodeView,
  keys: readonly Keyed[],
  from: number,
  to: number,
): Iterable<Share> {
  for (let at = from; at < to;) {
    const start = at++;
    const slot = node.slotBelow((keys[start] as Keyed).key);
    while (at < to && node.slotBelow((keys[at] as Keyed).key) === slot) at++;
    yield { slot, from: start, to: at };
  }
}

export type ReadPage = (page: number) => Promise<Uint8Array | undefined>;

export async function nodeAt(read: ReadPage, page: number): Promise<NodeView> {
  return nodeOf(page, await read(page));
}

/** @throws `corruption` */
export function nodeOf(page: number, bytes: Uint8Array | undefined): NodeView {
  if (bytes === undefined) {
    throw new PinionError("corruption", `tree node in page ${page}: there is no such page`, {
      details: { page },
    });
  }
  return new NodeView(page, bytes);
}

interface Run {
  readonly bytes: number;
  readonly first: number;
  readonly pages: number;
}

export function runOf(cell: Uint8Array): Run | undefined {
  if (cell[0] !== IN_RUN) return undefined;
  const view = new DataView(cell.buffer, cell.byteOffset, cell.length);
  const bytes = view.getUint32(1, true);
  return { bytes, first: getU48(view, 5), pages: Math.ceil(bytes / PAGE_BYTES) };
}

export function childCell(page: number): Uint8Array {
  const value = Buffer.allocUnsafe(6);
  putU48(new DataView(value.buffer, value.byteOffset, value.length), 0, page);
  return value;
}

export function inlineCell(value: Uint8Array): Uint8Array {
  const cell = Buffer.allocUnsafe(1 + value.length);
  cell[0] = INLINE;
  cell.set(value, 1);
  return cell;
}

export function runCell(valueBytes: number, first: number): Uint8Array {
  const cell = new Uint8Array(RUN_CELL_BYTES);
  const view = new DataView(cell.buffer);
  cell[0] = IN_RUN;
  view.setUint32(1, valueBytes, true);
  putU48(view, 5, first);
  return cell;
}
