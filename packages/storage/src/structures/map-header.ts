/**
 * The header page of an extent that holds a tree (`map`, `graph`). Little endian:
 *
 * | offset | size | field |
 * |---|---|---|
 * | 0 | 8 | what all structures begin with (structure.ts) |
 * | 8 | 1 | height of the tree; 0: there is none |
 * | 9 | 1 | map: kind of the keys; graph: 1 = weights, 2 = labels |
 * | 10 | 1 | map: kind of the values |
 * | 11 | 5 | reserved, 0 |
 * | 16 | 4 | root page |
 * | 20 | 4 | pages, this one and the bitmaps among them |
 * | 24 | 4 | free pages among them |
 * | 28 | 4 | no page below this one is free |
 * | 32 | 8 × 8 | counters: u48, u16 0. The first: entries of the tree. A graph's others: graph.ts |
 */
import { PinionError } from "@pinion/core";
import { getU48, putU48 } from "../segment/page-entry.ts";
import { PAGE_BYTES } from "./map-node.ts";
import { checkStructureHeader, damagedStructure, putStructureHeader } from "./structure.ts";

export const MAP_HEADER_BYTES = 96;
/** 150 keys a node and a height of 12 are more pages than there are numbers for; damaged trees are not followed further. */
export const HEIGHT_MAX = 12;
const COUNTERS = 8;
/** Of the tree. */
export const ENTRIES = 0;

/** What a program says that the extent holds. */
export interface TreeFormat {
  readonly kind: "map" | "graph";
  readonly version: number;
  /** Bytes 9 and 10. */
  readonly flavour: readonly [number, number];
}

/** The header as an operation sees and changes it. */
export interface TreeHeader {
  height: number;
  root: number;
  pages: number;
  freePages: number;
  firstFree: number;
  readonly counters: number[];
}

export const emptyHeader = (): TreeHeader => ({
  height: 0,
  root: 0,
  pages: 0,
  freePages: 0,
  firstFree: 0,
  counters: new Array<number>(COUNTERS).fill(0),
});

export function putHeader(bytes: Uint8Array, format: TreeFormat, header: TreeHeader): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, MAP_HEADER_BYTES);
  putStructureHeader(view, format.kind, format.version);
  view.setUint8(8, header.height);
  view.setUint8(9, format.flavour[0]);
  view.setUint8(10, format.flavour[1]);
  view.setUint32(16, header.root, true);
  view.setUint32(20, header.pages, true);
  view.setUint32(24, header.freePages, true);
  view.setUint32(28, header.firstFree, true);
  for (let i = 0; i < COUNTERS; i++) putU48(view, 32 + i * 8, header.counters[i] as number);
}

/** @throws `corruption`, `format-too-new`, `config-invalid` when it was written with other options */
export function readHeader(
  bytes: Uint8Array,
  format: TreeFormat,
  extentBytes: number,
  into: TreeHeader,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  checkStructureHeader(view, format.kind, format.version);
  const [a, b] = format.flavour;
  if (view.getUint8(9) !== a || view.getUint8(10) !== b) {
    throw new PinionError(
      "config-invalid",
      `the ${format.kind} was written with other options: ${view.getUint8(9)} and ${view.getUint8(10)}, here they are ${a} and ${b}`,
      { details: { kind: format.kind, stored: [view.getUint8(9), view.getUint8(10)] } },
    );
  }
  into.height = view.getUint8(8);
  into.root = view.getUint32(16, true);
  into.pages = view.getUint32(20, true);
  into.freePages = view.getUint32(24, true);
  into.firstFree = view.getUint32(28, true);
  for (let i = 0; i < COUNTERS; i++) into.counters[i] = getU48(view, 32 + i * 8);
  const { height, root, pages, freePages, firstFree } = into;
  const sound =
    height <= HEIGHT_MAX &&
    (height === 0) === (root === 0) &&
    pages >= 2 &&
    root < pages &&
    pages * PAGE_BYTES <= extentBytes &&
    freePages <= pages - 2 &&
    firstFree >= 2 &&
    firstFree <= pages;
  if (!sound) throw damagedStructure(format.kind, "its header contradicts itself", 0);
}
