import { seededRng, type Rng } from "@pinion/core";
import { describe, expect, it } from "vitest";
import {
  encodeNode,
  nodeBytes,
  NODE_ROOM_BYTES,
  NodeView,
  patchNode,
  usedBytesOf,
  type Cell,
  type CellChange,
} from "./slotted-page.ts";

const PAGE = 7;
const LSN = 9;

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const plain = (cells: readonly Cell[]): string[] =>
  cells.map(({ key, value }) => `${text(key)}=${text(value)}`);

function someKey(rng: Rng, prefix: string): string {
  return prefix + "abc".slice(0, rng.below(4)) + String(rng.below(40));
}

/** Cells in order of key that fit into a node. */
function someCells(rng: Rng, prefix: string): Cell[] {
  const values = new Map<string, string>();
  for (let i = rng.below(30); i >= 0; i--)
    values.set(someKey(rng, prefix), "v".repeat(rng.below(200)));
  const cells = [...values]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
  while (nodeBytes(cells) > NODE_ROOM_BYTES) cells.pop();
  return cells;
}

function applied(cells: readonly Cell[], changes: readonly CellChange[]): Cell[] {
  const after = new Map(cells.map((cell) => [text(cell.key), cell]));
  for (const { key, value } of changes) {
    if (value === undefined) after.delete(text(key));
    else after.set(text(key), { key, value });
  }
  return [...after.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, cell]) => cell);
}

describe("nodes in slotted pages", () => {
  it("say the same patched as made from their cells, or cannot be patched", () => {
    let patched = 0;
    for (let seed = 0; seed < 3_000; seed++) {
      const rng = seededRng(seed);
      const prefix = ["", "p", "prefix/"][rng.below(3)] as string;
      const cells = someCells(rng, prefix);
      const node = new NodeView(PAGE, encodeNode(PAGE, LSN, { inner: false, cells }));
      const changes = new Map<string, CellChange>();
      const isInPlace = rng.chance(0.3);
      for (let i = rng.below(6); i >= 0; i--) {
        const known = cells[rng.below(cells.length)] as Cell;
        const key = isInPlace || rng.chance(0.6) ? text(known.key) : someKey(rng, prefix);
        const byteCount = isInPlace ? known.value.length : rng.below(300);
        const isGone = !isInPlace && rng.chance(0.3);
        const value = isGone ? undefined : Buffer.from("w".repeat(byteCount));
        changes.set(key, { key: Buffer.from(key), value });
      }
      const inOrder = [...changes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
      const expected = applied(cells, inOrder);
      const bytes = patchNode(node, LSN + 1, inOrder);
      if (bytes === undefined) {
        const sharesPrefix = inOrder.every(({ key }) => node.sharesPrefix(key));
        const fits = expected.length > 0 && patchedBytes(node, expected) <= NODE_ROOM_BYTES;
        expect(sharesPrefix && fits, `seed ${seed}`).toBe(false);
        continue;
      }
      patched++;
      const now = new NodeView(PAGE, bytes);
      expect(plain(now.cells), `seed ${seed}`).toEqual(plain(expected));
      expect(now.usedBytes, `seed ${seed}`).toBe(patchedBytes(node, expected));
      expect(usedBytesOf(bytes)).toBe(now.usedBytes);
      expect(Buffer.from(bytes).readBigUInt64LE(8)).toBe(BigInt(LSN + 1));
      for (const { key } of expected) expect(now.find(key)).toBeGreaterThanOrEqual(0);
      // It can be patched again: its cells still lie in one block.
      expect(now.block(0, now.count), `seed ${seed}`).toBeDefined();
    }
    expect(patched).toBeGreaterThan(1_000);
  });

  it("find keys as a sorted list does", () => {
    for (let seed = 0; seed < 500; seed++) {
      const rng = seededRng(seed);
      const prefix = ["", "p", "prefix/"][rng.below(3)] as string;
      const cells = someCells(rng, prefix);
      const node = new NodeView(PAGE, encodeNode(PAGE, LSN, { inner: true, cells }));
      const keys = cells.map(({ key }) => text(key));
      for (const key of [...keys, someKey(rng, prefix), someKey(rng, ""), "", "zzz", prefix]) {
        const bound = keys.filter((each) => each < key).length;
        expect(node.lowerBound(Buffer.from(key)), `seed ${seed}, ${key}`).toBe(bound);
        expect(node.find(Buffer.from(key))).toBe(keys.indexOf(key));
        const below = keys[bound] === key ? bound : Math.max(0, bound - 1);
        expect(node.slotBelow(Buffer.from(key))).toBe(below);
      }
    }
  });

  it("make no node of damaged bytes", () => {
    const rng = seededRng(3);
    const bytes = encodeNode(PAGE, LSN, { inner: false, cells: someCells(rng, "prefix/") });
    for (let i = 0; i < 5_000; i++) {
      const flipped = bytes.slice();
      const at = rng.below(200);
      flipped[at] = (flipped[at] as number) ^ (1 << rng.below(8));
      try {
        // What still looks like a node can be walked: its checksum is checked elsewhere.
        const node = new NodeView(PAGE, flipped);
        void node.cells;
        void node.find(Buffer.from("prefix/a3"));
        void patchNode(node, LSN, [{ key: Buffer.from("prefix/a3"), value: Buffer.from("x") }]);
      } catch (e) {
        expect(e).toMatchObject({ code: "corruption" });
      }
    }
  });
});

/** What cells take with the prefix that the node had. */
function patchedBytes(node: NodeView, cells: readonly Cell[]): number {
  const { prefixBytes } = node;
  return cells.reduce(
    (sum, { key, value }) => sum + 6 + key.length + value.length - prefixBytes,
    prefixBytes,
  );
}
