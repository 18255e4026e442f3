/**
 * Memory outside the heap over the addon (native/memory.c): mappings of its own, and two threads that bring them in.
 *
 * State: for each operation under way its promise, and what it reads from; for each region the buffers over it.
 *
 * A1 the addon holds a strong reference to every buffer until it is given back, and tells V8 that its bytes count as nothing
 *    (native/region.c I2): a view is as cheap for the garbage collector as an object.
 * A2 whoever asks for memory waits on the addon's threads; on this one happens only what neither reads a disk nor faults:
 *    locking what is there already begins here, because it is mostly over sooner than a trip to another thread, and goes on
 *    there after half a millisecond.
 */
import { getSystemErrorMessage, getSystemErrorName } from "node:util";
import { assert, fromSystemError, isPinionError, PinionError } from "@pinion/core";
import { kernelCounts } from "./kernel-counts.ts";
import {
  type LoadResult,
  type LoadRun,
  type LockDenial,
  type MemoryDoor,
  type MemoryFacts,
  type NumaPolicy,
  type PopulateOptions,
  type RangePlacement,
  type Region,
  type RegionOptions,
} from "./memory-door.ts";
import {
  assertMapping,
  assertRange,
  assertRegion,
  assertRun,
  PAGE_BYTES,
  ViewedPages,
} from "./region-range.ts";

declare const handle: unique symbol;
interface RegionHandle {
  readonly [handle]: true;
}

/** What native/memory.c exports. A failure is −errno. */
export interface MemoryAddon {
  start(
    callback: (id: number, result: number, damaged: number[], short: number[]) => void,
  ): string | undefined;
  map(
    fd: number,
    offset: number,
    byteCount: number,
    numaMode: number,
    numaNodes: Int32Array,
    reservedPageBytes: number,
  ): RegionHandle | number;
  denied(region: RegionHandle): number;
  work(
    id: number,
    kind: number,
    region: RegionHandle,
    offset: number,
    byteCount: number,
    hugePages: number,
    numaMode: number,
    numaNodes: Int32Array,
  ): number;
  measure(
    id: number,
    region: RegionHandle,
    offset: number,
    byteCount: number,
    stride: number,
    into: Float64Array,
  ): number;
  move(id: number, region: RegionHandle, offset: number, byteCount: number, node: number): number;
  load(
    id: number,
    region: RegionHandle,
    numbers: Float64Array,
    checks: (Uint8Array | undefined)[],
  ): number;
  range(which: number, region: RegionHandle, offset: number, byteCount: number): number;
  resident(region: RegionHandle, offset: number, byteCount: number): number;
  view(
    region: RegionHandle,
    offset: number,
    byteCount: number,
    slot: number,
  ): ArrayBuffer | undefined;
  detach(region: RegionHandle, slot: number): void;
  release(region: RegionHandle): void;
  copy(region: RegionHandle, offset: number, into: Uint8Array): boolean;
  facts(into: Float64Array): void;
  bindThread(cpus: Int32Array): number;
}

const WORK_POPULATE = 0;
const WORK_LOCK = 1;
const RANGE_LOCK = 0;
const RANGE_UNLOCK = 1;
const RANGE_DISCARD = 2;

/** Pages of a range that are asked about at most: 16,384 small ones take 5 ms of a thread. */
const MEASURED_PAGES_MAX = 16_384;
/** Nodes that are told apart. */
const NODES_MAX = 256;

/** MPOL_… of mbind(2). */
const NUMA_MODES = { preferred: 1, bind: 2, interleave: 3, local: 4 } as const;
/** Nothing is asked for. */
const NUMA_AS_IT_IS = 0;
const NO_NODES = new Int32Array();

/** Callers await what they start: so many at once are a mistake or an overload. */
const OPERATIONS_MAX = 4096;
const NOTHING: LoadResult = Object.freeze({ damaged: [], short: [] });

interface Outcome {
  readonly result: number;
  readonly damaged: number[];
  readonly short: number[];
}

interface Operation {
  /** Kept alive until the operation has ended. */
  readonly reads: readonly unknown[];
  readonly resolve: (outcome: Outcome) => void;
}

export class AddonMemory implements MemoryDoor {
  readonly kind = "addon";
  readonly degraded = undefined;
  readonly #addon: MemoryAddon;
  readonly #operations = new Map<number, Operation>();
  #ids = 0;

  /** @throws `unsupported-platform` where the kernel lacks what this needs */
  constructor(addon: MemoryAddon) {
    this.#addon = addon;
    const why = addon.start((id, result, damaged, short) => {
      const operation = this.#operations.get(id);
      assert(operation, `memory operation ${id} ended twice`);
      this.#operations.delete(id);
      operation.resolve({ result, damaged, short });
    });
    if (why !== undefined) throw new PinionError("unsupported-platform", why);
  }

  reserve(byteCount: number, options: RegionOptions = {}): Region {
    assertRegion(byteCount, options.reservedPageBytes);
    return this.#map(-1, 0, byteCount, options);
  }

  mapFile(fd: number, offset: number, byteCount: number): Region {
    assertMapping(fd, offset, byteCount);
    return this.#map(fd, offset, byteCount);
  }

  guardedCopy(from: Region, offset: number, into: Uint8Array): boolean {
    assert(from instanceof AddonRegion, "a region of another door");
    return from.guardedCopy(offset, into);
  }

  facts(): MemoryFacts {
    const numbers = new Float64Array(3);
    this.#addon.facts(numbers);
    const [lockable = 0, majorFaults = 0, minorFaults = 0] = numbers;
    return {
      lockableBytes: lockable < 0 ? Infinity : lockable,
      ...kernelCounts(),
      majorFaults,
      minorFaults,
    };
  }

  bindThread(cpus: readonly number[]): boolean {
    return this.#addon.bindThread(Int32Array.from(cpus)) === 0;
  }

  #map(fd: number, offset: number, byteCount: number, options: RegionOptions = {}): Region {
    const { numa = { kind: "local" }, reservedPageBytes = 0 } = options;
    const [mode, nodes] = policyOf(numa);
    const region = this.#addon.map(fd, offset, byteCount, mode, nodes, reservedPageBytes);
    if (typeof region === "number")
      throw errorOf(region, fd < 0 ? "reserving address space" : "mapping a file");
    return new AddonRegion(this.#addon, region, byteCount, fd < 0 ? "anonymous" : "file", this);
  }

  /** @param start hands the operation over under this id; 0, or −errno */
  run(reads: readonly unknown[], start: (id: number) => number): Promise<Outcome> {
    if (this.#operations.size >= OPERATIONS_MAX)
      throw new PinionError("overloaded", `${OPERATIONS_MAX} memory operations are under way`);
    do this.#ids = (this.#ids + 1) >>> 0;
    while (this.#operations.has(this.#ids));
    const id = this.#ids;
    const result = start(id);
    if (result !== 0) throw errorOf(result, "starting a memory operation");
    return new Promise((resolve) => this.#operations.set(id, { reads, resolve }));
  }
}

interface Shown {
  readonly offset: number;
  readonly byteCount: number;
  readonly slot: number;
}

class AddonRegion implements Region {
  readonly byteCount: number;
  readonly kind: "anonymous" | "file";
  readonly #addon: MemoryAddon;
  readonly #handle: RegionHandle;
  readonly #door: AddonMemory;
  readonly #viewed: ViewedPages;
  readonly #buffers = new Map<ArrayBuffer, Shown>();
  readonly #freeSlots: number[] = [];
  #slots = 0;
  #released = false;

  constructor(
    addon: MemoryAddon,
    regionHandle: RegionHandle,
    byteCount: number,
    kind: "anonymous" | "file",
    door: AddonMemory,
  ) {
    this.#addon = addon;
    this.#handle = regionHandle;
    this.byteCount = byteCount;
    this.kind = kind;
    this.#door = door;
    this.#viewed = new ViewedPages(byteCount);
  }

  async populate(offset: number, byteCount: number, options: PopulateOptions = {}): Promise<void> {
    this.#check(offset, byteCount);
    const { hugePages, numa } = options;
    const huge = hugePages === undefined ? -1 : Number(hugePages);
    const { result } = await this.#work(WORK_POPULATE, offset, byteCount, huge, numa);
    if (result !== 0) throw errorOf(result, "bringing memory in");
  }

  async load(runs: readonly LoadRun[]): Promise<LoadResult> {
    this.#check(0, 0);
    for (const run of runs) assertRun(this.byteCount, run);
    if (runs.length === 0) return NOTHING;
    const numbers = new Float64Array(4 * runs.length);
    for (const [i, { fd, fileOffset, regionOffset, byteCount }] of runs.entries())
      numbers.set([fd, fileOffset, regionOffset, byteCount], 4 * i);
    const checks = runs.map((run) => run.checks);
    const { result, damaged, short } = await this.#door.run(checks, (id) =>
      this.#addon.load(id, this.#handle, numbers, checks),
    );
    if (result !== 0) throw errorOf(result, "reading into memory");
    return { damaged: damaged.sort((a, b) => a - b), short: short.sort((a, b) => a - b) };
  }

  async lock(offset: number, byteCount: number): Promise<LockDenial | undefined> {
    this.#check(offset, byteCount);
    const locked = this.#addon.range(RANGE_LOCK, this.#handle, offset, byteCount);
    if (locked < 0) return denialOf(locked);
    if (locked === byteCount) return undefined;
    let denial: LockDenial | undefined = "limit";
    try {
      const rest = await this.#work(WORK_LOCK, offset + locked, byteCount - locked, -1);
      denial = denialOf(rest.result);
    } catch (e) {
      if (!isPinionError(e, "overloaded")) throw e;
    }
    // Where even that takes what there is none of, it stays locked until it is asked for again, or given back.
    if (denial !== undefined && !this.#released)
      this.#addon.range(RANGE_UNLOCK, this.#handle, offset, locked);
    return denial;
  }

  unlock(offset: number, byteCount: number): void {
    this.#range(RANGE_UNLOCK, offset, byteCount, "unlocking memory");
  }

  discard(offset: number, byteCount: number): void {
    this.#range(RANGE_DISCARD, offset, byteCount, "giving memory back");
  }

  residentBytes(offset: number, byteCount: number): number | undefined {
    this.#check(offset, byteCount);
    const bytes = this.#addon.resident(this.#handle, offset, byteCount);
    return bytes < 0 ? undefined : bytes;
  }

  async measure(offset: number, byteCount: number): Promise<RangePlacement | undefined> {
    this.#check(offset, byteCount);
    const stride = strideOf(byteCount / PAGE_BYTES);
    const into = new Float64Array(2 + NODES_MAX);
    const { result } = await this.#door.run([into], (id) =>
      this.#addon.measure(id, this.#handle, offset, byteCount, stride, into),
    );
    if (result !== 0) return undefined;
    const hugeBytes = (into[0] as number) < 0 ? undefined : Math.round(into[0] as number);
    if ((into[1] as number) < 0) return { bytesByNode: undefined, hugeBytes };
    const bytesByNode = new Map<number, number>();
    for (let node = 0; node < NODES_MAX; node++) {
      const pages = into[2 + node] as number;
      if (pages > 0) bytesByNode.set(node, Math.min(byteCount, pages * stride * PAGE_BYTES));
    }
    return { bytesByNode, hugeBytes };
  }

  async moveTo(offset: number, byteCount: number, node: number): Promise<number | undefined> {
    this.#check(offset, byteCount);
    const { result } = await this.#door.run([], (id) =>
      this.#addon.move(id, this.#handle, offset, byteCount, node),
    );
    return result < 0 ? undefined : result * PAGE_BYTES;
  }

  get policyDenied(): string | undefined {
    const result = this.#addon.denied(this.#handle);
    return result === 0 ? undefined : getSystemErrorName(result);
  }

  view(offset: number, byteCount: number): ArrayBuffer {
    this.#check(offset, byteCount, 1);
    assert(
      offset % PAGE_BYTES === 0 && byteCount > 0,
      `a view of ${byteCount} bytes from ${offset}`,
    );
    this.#viewed.claim(offset, byteCount);
    const slot = this.#freeSlots.pop() ?? this.#slots++;
    const buffer = this.#addon.view(this.#handle, offset, byteCount, slot);
    if (!buffer) {
      this.#viewed.free(offset, byteCount);
      this.#freeSlots.push(slot);
      throw new PinionError("overloaded", "no memory for another view");
    }
    this.#buffers.set(buffer, { offset, byteCount, slot });
    return buffer;
  }

  detach(buffer: ArrayBuffer): void {
    const shown = this.#buffers.get(buffer);
    if (!shown) return;
    this.#addon.detach(this.#handle, shown.slot);
    this.#buffers.delete(buffer);
    this.#viewed.free(shown.offset, shown.byteCount);
    this.#freeSlots.push(shown.slot);
  }

  release(): void {
    this.#check(0, 0);
    this.#released = true;
    this.#addon.release(this.#handle);
    this.#buffers.clear();
  }

  guardedCopy(offset: number, into: Uint8Array): boolean {
    this.#check(offset, into.length, 1);
    return this.#addon.copy(this.#handle, offset, into);
  }

  #work(
    kind: number,
    offset: number,
    byteCount: number,
    hugePages: number,
    numa?: NumaPolicy,
  ): Promise<Outcome> {
    const [mode, nodes] = numa === undefined ? [NUMA_AS_IT_IS, NO_NODES] : policyOf(numa);
    return this.#door.run([], (id) =>
      this.#addon.work(id, kind, this.#handle, offset, byteCount, hugePages, mode, nodes),
    );
  }

  #range(which: number, offset: number, byteCount: number, doing: string): void {
    this.#check(offset, byteCount);
    const result = this.#addon.range(which, this.#handle, offset, byteCount);
    if (result !== 0) throw errorOf(result, doing);
  }

  #check(offset: number, byteCount: number, unitBytes = PAGE_BYTES): void {
    assert(!this.#released, "the region was released");
    assertRange(this.byteCount, offset, byteCount, unitBytes);
  }
}

/** Prime to the numbers of nodes there are: of interleaved pages every second one would be on the same node. */
function strideOf(pages: number): number {
  let stride = Math.max(1, Math.ceil(pages / MEASURED_PAGES_MAX));
  while (stride > 1 && [2, 3, 5, 7].some((factor) => stride % factor === 0)) stride++;
  return stride;
}

function policyOf(numa: NumaPolicy): [mode: number, nodes: Int32Array] {
  const nodes = numa.kind === "local" ? NO_NODES : Int32Array.from(numa.nodes);
  return [NUMA_MODES[numa.kind], nodes];
}

function denialOf(result: number): LockDenial | undefined {
  if (result === 0) return undefined;
  const name = getSystemErrorName(result);
  if (name === "EPERM") return "privilege";
  return name === "ENOSYS" || name === "EINVAL" ? "unsupported" : "limit";
}

/** No memory, no address space, no thread: comes back when others have given some back. */
function errorOf(result: number, doing: string): PinionError {
  const code = getSystemErrorName(result);
  const error = Object.assign(new Error(`${code}: ${getSystemErrorMessage(result)}`), { code });
  if (code === "ENOMEM" || code === "EAGAIN") {
    return new PinionError("overloaded", `${doing}: ${error.message}`, {
      details: { errno: code },
      cause: error,
    });
  }
  return fromSystemError(error, doing);
}
