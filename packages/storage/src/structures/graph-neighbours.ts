/** The edges that leave one node. */
import { PinionError } from "@pinion/core";
import type { ExtentAccess } from "../extent/extent-access.ts";
import { PORTAL, type GraphBlock } from "./graph-format.ts";

export interface Edge {
  /** A node of this partition, or a portal: see `portal`. */
  readonly target: number;
  /** Number of the portal that the edge leads to; undefined: it stays in this partition. */
  readonly portal: number | undefined;
  readonly weight: number;
  readonly label: number;
}

const OWN_MEMORY = Object.freeze({ generation: 0, ended: false });
const NOTHING = new Uint32Array(0);

/**
 * Edges in the order of their targets, then their labels, read where they lie. Good until the next write to the graph or the
 * end of the turn; then it throws `view-expired`.
 */
export class Neighbours implements Iterable<Edge> {
  /** Of edges. */
  readonly length: number;
  readonly #extent: Pick<ExtentAccess, "generation" | "ended">;
  readonly #generation: number;
  readonly #targets: Uint32Array;
  readonly #weights: Float32Array | undefined;
  readonly #labels: Uint16Array | undefined;
  readonly #start: number;

  /** @param extent whose memory the arrays are; undefined: they are memory of their own */
  constructor(
    extent: ExtentAccess | undefined,
    targets: Uint32Array,
    weights: Float32Array | undefined,
    labels: Uint16Array | undefined,
    start: number,
    end: number,
  ) {
    this.#extent = extent ?? OWN_MEMORY;
    this.#generation = this.#extent.generation;
    this.#targets = targets;
    this.#weights = weights;
    this.#labels = labels;
    this.#start = start;
    this.length = end - start;
  }

  static ofBlock(extent: ExtentAccess, block: GraphBlock, start: number, end: number): Neighbours {
    return new Neighbours(extent, block.targets, block.weights, block.labels, start, end);
  }

  static none(extent: ExtentAccess): Neighbours {
    return new Neighbours(extent, NOTHING, undefined, undefined, 0, 0);
  }

  /** Node or portal (`isPortal`) that edge `index` leads to. */
  target(index: number): number {
    const target = this.#targets[this.#place(index)] as number;
    return target >= PORTAL ? target - PORTAL : target;
  }

  /** Whether edge `index` leaves the partition. */
  isPortal(index: number): boolean {
    return (this.#targets[this.#place(index)] as number) >= PORTAL;
  }

  /** 1 in a graph without weights. */
  weight(index: number): number {
    return this.#weights?.[this.#place(index)] ?? 1;
  }

  /** 0 in a graph without labels. */
  label(index: number): number {
    return this.#labels?.[this.#place(index)] ?? 0;
  }

  *[Symbol.iterator](): Iterator<Edge> {
    for (let i = 0; i < this.length; i++) {
      const target = this.target(i);
      const portal = this.isPortal(i) ? target : undefined;
      yield { target, portal, weight: this.weight(i), label: this.label(i) };
    }
  }

  #place(index: number): number {
    const extent = this.#extent;
    if (extent.generation !== this.#generation || extent.ended || index >>> 0 >= this.length)
      this.#refuse(index);
    return this.#start + index;
  }

  /** Apart, so that `#place` stays small enough to become part of a caller's loop. */
  #refuse(index: number): never {
    if (index >>> 0 >= this.length)
      throw new PinionError("invalid-argument", `edge ${index} of ${this.length}`);
    throw new PinionError("view-expired", "the graph was written to, or the turn is over");
  }
}
