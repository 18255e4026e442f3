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
import { assert, fromSystemError, PinionError } from "@pinion/core";
import { kernelCounts } from "./kernel-counts.ts";
import {
  CHUNK_BYTES,
  type LoadResult,
  type LoadRun,
  type LockDenial,
  type MemoryDoor,
  type MemoryFacts,
  type PopulateOptions,
  type Region,
} from "./memory-door.ts";
import { assertMapping, assertRange, assertRun, PAGE_BYTES, ViewedPages } from "./region-range.ts";

declare const handle: unique symbol;
interface RegionHandle {
  readonly [handle]: true;
}

/** What native/memory.c exports. A failure is −errno. */
export interface MemoryAddon {
  start(
    callback: (id: number, result: number, damaged: number[], short: number[]) => void,
  ): string | undefined;
  map(fd: number, offset: number, byteCount: number): RegionHandle | number;
  work(
    id: number,
    kind: number,
    region: RegionHandle,
    offset: number,
    byteCount: number,
    hugePages: number,
    numaNode: number,
  ): number;
  load(
    id: number,
    region: RegionHandle,
    numbers: Float64Array,
    checks: (Uint8Array | undefined)[],
  ): number;
  range(which: number, region: RegionHandle, offset: number, byteCount: number): number;
  resident(region: RegionHandle, offset: number, byteCount: number): number;
  nodes(region: RegionHandle, offset: number, into: Int32Array): number;
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

  reserve(byteCount: number): Region {
    assert(
      byteCount > 0 && byteCount % CHUNK_BYTES === 0,
      `a region of ${byteCount} bytes is not a number of chunks`,
    );
    return this.#map(-1, 0, byteCount);
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

  #map(fd: number, offset: number, byteCount: number): Region {
    const region = this.#addon.map(fd, offset, byteCount);
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
    const { hugePages, numaNode = -1 } = options;
    const huge = hugePages === undefined ? -1 : Number(hugePages);
    const { result } = await this.#work(WORK_POPULATE, offset, byteCount, huge, numaNode);
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
    const rest = await this.#work(WORK_LOCK, offset + locked, byteCount - locked, -1, -1);
    if (rest.result !== 0 && !this.#released) this.unlock(offset, locked);
    return denialOf(rest.result);
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

  numaNodes(offset: number, byteCount: number): Int32Array | undefined {
    this.#check(offset, byteCount);
    const nodes = new Int32Array(byteCount / PAGE_BYTES);
    return this.#addon.nodes(this.#handle, offset, nodes) === 0 ? nodes : undefined;
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
    numaNode: number,
  ): Promise<Outcome> {
    return this.#door.run([], (id) =>
      this.#addon.work(id, kind, this.#handle, offset, byteCount, hugePages, numaNode),
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
