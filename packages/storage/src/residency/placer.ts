/**
 * Where an extent's memory is wanted, and in which pages: the rules (numa-policy.ts, page-size.ts) over the facts of the machine.
 *
 * N1 memory is bound to a node only while the node has room for it and something to spare: the system ends a process that touches memory bound to a
 *    node that is full. Without room the node is preferred instead, and the reason is kept. What is on its way in counts as taken.
 * N2 on a machine with one node nothing is read and nothing is asked for.
 */
import type { NumaPolicy } from "../memory/memory-door.ts";
import { HostFiles } from "./host-files.ts";
import { numaPolicyFor, type DataKind } from "./numa-policy.ts";
import { freeBytesOf, readNumaTopology, type NumaTopology } from "./numa-topology.ts";
import { pageSizeFor, readPageFacts, type PageFacts, type PageUse } from "./page-size.ts";

export interface Placing {
  readonly numa: NumaPolicy;
  /** Where all of it should be; undefined: on several nodes, or wherever. */
  readonly wantedNode: number | undefined;
  /** Why it is not placed as its kind of data would be. */
  readonly numaShortfall: string | undefined;
  /** Made by the system as it goes, of 2 MiB. */
  readonly hugePages: boolean;
  /** Made of pages of this size that the machine has reserved. */
  readonly reservedPageBytes: number | undefined;
  /** Why its pages are not of the size its use would like. */
  readonly pageShortfall: string | undefined;
  /** Whether so many bytes more may be bound (N1). */
  readonly hasRoom: (byteCount: number) => boolean;
  /** Its memory is there, or will not be: until then it is counted beside what the node says of itself. */
  readonly settle: () => void;
}

type PagePlacing = Pick<Placing, "hugePages" | "reservedPageBytes" | "pageShortfall">;

export interface PlacingRequest {
  readonly dataKind: DataKind;
  readonly pageUse: PageUse;
  readonly byteCount: number;
  /** Instead of the home node. */
  readonly numaPrefer: number | undefined;
  /** Instead of the rule. */
  readonly hugePages: boolean | undefined;
}

export interface PlacerOptions {
  /** Where /proc and /sys are read. Default: of this machine. */
  readonly files?: HostFiles;
  /** Default: what `files` say. */
  readonly topology?: NumaTopology;
  /** The node of the worker. Default: the first. */
  readonly home?: number;
}

/** Stays free on a node that memory is bound to: a sixteenth, but no less. */
const SPARE_BYTES_MIN = 64 * 1024 * 1024;
const SPARE_PART = 16;
const RESERVED_FROM_BYTES = 1024 * 1024 * 1024;

/** Where nobody cares: everything is local. */
export const ONE_NODE: NumaTopology = Object.freeze({
  nodes: Object.freeze([{ id: 0, cpus: [], memTotalBytes: 1, distances: new Map([[0, 10]]) }]),
  degraded: undefined,
});

export class Placer {
  readonly topology: NumaTopology;
  readonly home: number;
  readonly #files: HostFiles;
  readonly #facts: PageFacts;
  /** By node: bound and on its way in. */
  readonly #coming = new Map<number, number>();

  constructor(options: PlacerOptions = {}) {
    this.#files = options.files ?? new HostFiles();
    this.topology = options.topology ?? readNumaTopology(this.#files);
    this.home = options.home ?? (this.topology.nodes[0]?.id as number);
    this.#facts = readPageFacts(this.#files);
  }

  get oneNode(): boolean {
    return this.topology.nodes.filter(({ memTotalBytes }) => memTotalBytes > 0).length <= 1;
  }

  place(request: PlacingRequest): Placing {
    return { ...this.#nodes(request), ...this.#pages(request) };
  }

  #nodes({ dataKind, byteCount, numaPrefer }: PlacingRequest): Omit<Placing, keyof PagePlacing> {
    const anywhere = { numaShortfall: undefined, hasRoom: () => true, settle: () => {} };
    if (this.oneNode) return { numa: { kind: "local" }, wantedNode: this.home, ...anywhere };
    const node = numaPrefer ?? this.home;
    const numa = numaPolicyFor(dataKind, this.topology, node);
    if (numa.kind === "interleave") return { numa, wantedNode: undefined, ...anywhere };
    // The one that was asked for may not be there, or have no memory.
    const [bound = node] = "nodes" in numa ? numa.nodes : [];
    if (numa.kind !== "bind") return { numa, wantedNode: bound, ...anywhere };
    if (!this.#hasRoom(bound, byteCount)) {
      return {
        ...anywhere,
        numa: { kind: "preferred", nodes: [bound] },
        wantedNode: bound,
        numaShortfall: "its node was full",
      };
    }
    return {
      numa,
      wantedNode: bound,
      numaShortfall: undefined,
      hasRoom: (more) => this.#hasRoom(bound, more),
      settle: this.#comes(bound, byteCount),
    };
  }

  /** @returns to be called once it is there */
  #comes(node: number, byteCount: number): () => void {
    this.#coming.set(node, (this.#coming.get(node) ?? 0) + byteCount);
    let settled = false;
    return () => {
      if (!settled) this.#coming.set(node, (this.#coming.get(node) ?? 0) - byteCount);
      settled = true;
    };
  }

  /** N1 */
  #hasRoom(node: number, byteCount: number): boolean {
    const free = freeBytesOf(this.#files, node);
    const total = this.topology.nodes.find(({ id }) => id === node)?.memTotalBytes ?? 0;
    const spare = Math.max(SPARE_BYTES_MIN, total / SPARE_PART);
    return free !== undefined && free - (this.#coming.get(node) ?? 0) >= byteCount + spare;
  }

  #pages({ pageUse, byteCount, hugePages }: PlacingRequest): PagePlacing {
    const ordinary = { reservedPageBytes: undefined, pageShortfall: undefined };
    if (hugePages !== undefined) return { hugePages, ...ordinary };
    // How many are free changes: asked again where it matters.
    const { freeReserved, transparent } = this.#facts;
    const matters =
      freeReserved.size > 0 && (byteCount >= RESERVED_FROM_BYTES || transparent === "never");
    const facts = matters ? readPageFacts(this.#files) : this.#facts;
    const choice = pageSizeFor(pageUse, byteCount, facts);
    return {
      hugePages: choice.pageBytes > 4096 && !choice.reserved,
      reservedPageBytes: choice.reserved ? choice.pageBytes : undefined,
      pageShortfall: choice.shortfall,
    };
  }
}
