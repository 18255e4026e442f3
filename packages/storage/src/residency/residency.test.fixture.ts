/** An extent whose every step a test decides, and a host to run a pin manager on. */
import { assert, PinionError, VirtualClock, type Clock } from "@pinion/core";
import type { LockDenial, RangePlacement } from "../memory/memory-door.ts";
import { BudgetCounter } from "./budget-counter.ts";
import { HostFiles } from "./host-files.ts";
import type { DataKind } from "./numa-policy.ts";
import type { PageUse } from "./page-size.ts";
import { PinManager, type PinManagerOptions } from "./pin-manager.ts";
import type { LoadReport, LoadRequest, PinKey, PinPriority, PinTarget } from "./pin-types.ts";
import { Placer } from "./placer.ts";

export const MIB = 1024 * 1024;
export const LOCKED = { kind: "locked" } as const;

const GIB = 1024 * MIB;

/** A machine of which only these files are known. Nothing is read from this one. */
export class TestFiles extends HostFiles {
  readonly contents: Map<string, string>;

  constructor(contents: Readonly<Record<string, string>>) {
    super("/nowhere");
    this.contents = new Map(Object.entries(contents));
  }

  override text(path: string): string | undefined {
    return this.contents.get(path);
  }

  override names(path: string): string[] {
    const names = [...this.contents.keys()]
      .filter((each) => each.startsWith(`${path}/`))
      .map((each) => each.slice(path.length + 1).split("/")[0] as string);
    return [...new Set(names)].sort();
  }

  setFree(node: number, freeBytes: number): void {
    this.contents.set(`${NODES}/node${node}/meminfo`, nodeMeminfo(node, freeBytes));
  }
}

const NODES = "/sys/devices/system/node";
const nodeMeminfo = (node: number, freeBytes: number): string =>
  `Node ${node} MemTotal: ${(16 * GIB) / 1024} kB\nNode ${node} MemFree: ${freeBytes / 1024} kB\n`;

/** Two nodes of 16 GiB with one processor each. */
export function twoNodes(
  thp = "always [madvise] never",
  more: Readonly<Record<string, string>> = {},
): TestFiles {
  const files: Record<string, string> = {
    "/sys/kernel/mm/transparent_hugepage/enabled": `${thp}\n`,
    ...more,
  };
  for (const node of [0, 1]) {
    files[`${NODES}/node${node}/cpulist`] = `${node}\n`;
    files[`${NODES}/node${node}/distance`] = node === 0 ? "10 21\n" : "21 10\n";
    files[`${NODES}/node${node}/meminfo`] = nodeMeminfo(node, 8 * GIB);
  }
  return new TestFiles(files);
}

export type LoadFault = "io-error" | "corruption" | "overloaded";

export class TestTarget implements PinTarget {
  readonly key: PinKey;
  bytes: number;
  readonly owner: string;
  dataKind: DataKind = "hot-table";
  pageUse: PageUse = "tree";
  /** Whether its memory can move as it is. */
  movable = true;
  moves = 0;
  measurements = 0;
  /** What the next load did not get. */
  report: LoadReport = {};
  type?: string;
  readonly #clock: Clock;
  /** How long a load takes; undefined: until `finishLoad`. */
  loadMs: number | undefined = 0;
  lockMs = 0;
  dropMs = 0;
  /** Its load cannot be stopped. */
  ignoresAbort = false;
  fault: LoadFault | undefined;
  denial: LockDenial | undefined;
  /** Where the next load puts it; undefined: where it was asked for. */
  node: number | undefined;
  neighbours: TestTarget[] = [];
  readonly requests: LoadRequest[] = [];
  state: "absent" | "loading" | "resident" | "dropping" = "absent";
  locked = false;
  loads = 0;
  drops = 0;
  faults: string[] = [];
  #references = 0;
  #locking = false;
  #loadedOn = 0;
  #whenUnreferenced: (() => void) | undefined;
  finishLoad: () => void = () => {};

  constructor(clock: Clock, key: PinKey, bytes: number, owner = key.split("#")[0] as string) {
    this.#clock = clock;
    this.key = key;
    this.bytes = bytes;
    this.owner = owner;
  }

  get references(): number {
    return this.#references;
  }

  /** A turn begins; false when the extent takes no more (T2). */
  acquire(): boolean {
    if (this.state !== "resident") return false;
    this.#references++;
    return true;
  }

  release(): void {
    this.#references--;
    if (this.#references === 0) this.#whenUnreferenced?.();
  }

  async load(request: LoadRequest, signal: AbortSignal): Promise<LoadReport> {
    this.#expect(this.state === "absent", `load while ${this.state}`);
    this.requests.push(request);
    this.state = "loading";
    const aborted = new Promise<"aborted">((resolve) =>
      signal.addEventListener("abort", () => {
        if (!this.ignoresAbort) resolve("aborted");
      }),
    );
    const ended = await Promise.race([this.#loadTime(), aborted]);
    if (ended === "aborted" || this.fault !== undefined) {
      this.state = "absent";
      throw new PinionError(this.fault ?? "cancelled", `${this.key} did not come in`);
    }
    this.state = "resident";
    this.loads++;
    this.#loadedOn = this.node ?? request.placing.wantedNode ?? 0;
    return this.report;
  }

  async lock(): Promise<LockDenial | undefined> {
    this.#expect(this.state === "resident", `lock while ${this.state}`);
    this.#locking = true;
    if (this.lockMs > 0) await this.#after(this.lockMs);
    this.#locking = false;
    this.#expect(this.state === "resident", `locked while ${this.state}`);
    this.locked = this.denial === undefined;
    return this.denial;
  }

  unlock(): void {
    this.#expect(this.locked, "unlock of what is not locked");
    this.locked = false;
  }

  async drop(): Promise<void> {
    this.#expect(this.state === "resident" && !this.locked, `drop while ${this.state}`);
    this.#expect(!this.#locking, "drop while it is being locked");
    this.state = "dropping";
    if (this.#references > 0) {
      await new Promise<void>((resolve) => (this.#whenUnreferenced = resolve));
    }
    if (this.dropMs > 0) await this.#after(this.dropMs);
    this.#expect(this.#references === 0, "dropped under a turn");
    this.drops++;
    this.state = "absent";
  }

  async measure(): Promise<RangePlacement | undefined> {
    this.measurements++;
    if (this.state !== "resident") return undefined;
    const { placing } = this.requests.at(-1)!;
    return {
      hugeBytes: placing.hugePages ? this.bytes : 0,
      bytesByNode: new Map([[this.#loadedOn, this.bytes]]),
    };
  }

  async move(node: number): Promise<number | undefined> {
    this.#expect(this.#references === 0, "moved under a turn");
    if (!this.movable) return undefined;
    this.moves++;
    this.#loadedOn = node;
    return this.bytes;
  }

  *adjacent(count: number): Iterable<{ key: PinKey; target: PinTarget }> {
    for (const target of this.neighbours.slice(0, count)) yield { key: target.key, target };
  }

  #loadTime(): Promise<void> {
    if (this.loadMs === undefined) {
      return new Promise((resolve) => (this.finishLoad = resolve));
    }
    return this.loadMs === 0 ? Promise.resolve() : this.#after(this.loadMs);
  }

  #after(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.setTimer(ms, resolve));
  }

  #expect(condition: boolean, otherwise: string): void {
    if (!condition) this.faults.push(`${this.key}: ${otherwise}`);
  }
}

export class PinHost {
  readonly clock = new VirtualClock();
  readonly counter: BudgetCounter;
  readonly pins: PinManager;
  readonly targets = new Map<PinKey, TestTarget>();

  constructor(budgetBytes: number, options: Partial<PinManagerOptions> = {}) {
    this.counter = BudgetCounter.create(budgetBytes, 4);
    this.pins = new PinManager({
      clock: this.clock,
      budget: this.counter.open(0),
      placer: new Placer({ files: twoNodes(), home: 0 }),
      ...options,
    });
  }

  target(key: PinKey, bytes = MIB): TestTarget {
    let target = this.targets.get(key);
    if (target === undefined) {
      target = new TestTarget(this.clock, key, bytes);
      this.targets.set(key, target);
    }
    return target;
  }

  /** What the ports saw that must not be. */
  get faults(): string[] {
    return [...this.targets.values()].flatMap((target) => target.faults);
  }
}

/** Pins `count` extents of 1 MiB, `name-0` and on; all must come in. */
export async function fill(
  host: PinHost,
  priority: PinPriority,
  count: number,
  name: string,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    const key = `${name}-${i}`;
    const outcome = await host.pins.pin(key, host.target(key), { priority });
    assert(outcome.kind !== "degraded", `${key}: ${JSON.stringify(outcome)}`);
  }
}
