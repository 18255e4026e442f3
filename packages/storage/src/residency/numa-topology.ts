/**
 * The machine's memory nodes, from sysfs, as far as this process may use them (taskset, cpusets): a node whose memory it may not use counts as one
 * without memory. Where there is no sysfs, or nothing in it, the machine is one node: then every placement is
 * local and nothing has to be decided.
 */
import { HostFiles } from "./host-files.ts";

export interface NumaNode {
  readonly id: number;
  /** None: memory without processors. */
  readonly cpus: readonly number[];
  readonly memTotalBytes: number;
  /** To each node by its id; 10 is itself. */
  readonly distances: ReadonlyMap<number, number>;
}

export interface NumaTopology {
  /** By id; at least one. */
  readonly nodes: readonly NumaNode[];
  /** Why this is not what sysfs says; undefined when it is. */
  readonly degraded: string | undefined;
}

const NODES = "/sys/devices/system/node";
const LOCAL_DISTANCE = 10;
/** What the kernel assumes between nodes when the firmware says nothing. */
const REMOTE_DISTANCE = 20;
/** The kernel's own largest number (CONFIG_NR_CPUS). */
const CPU_MAX = 8192;

export function readNumaTopology(files: HostFiles = new HostFiles()): NumaTopology {
  const ids = files
    .names(NODES)
    .map((name) => /^node(\d+)$/.exec(name)?.[1])
    .filter((id) => id !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
  const allowed = allowedOf(files);
  if (ids.length === 0) return oneNode(files, `${NODES} has no nodes`);
  const nodes = ids.map((id) => readNode(files, id, ids, allowed));
  if (nodes.every(({ memTotalBytes }) => memTotalBytes === 0)) {
    return oneNode(files, `${NODES} has no node with memory`);
  }
  return {
    nodes: nodes.filter((node) => node.memTotalBytes > 0 || node.cpus.length > 0),
    degraded: undefined,
  };
}

/** Undefined: all. */
interface Allowed {
  readonly cpus: ReadonlySet<number> | undefined;
  readonly mems: ReadonlySet<number> | undefined;
}

function allowedOf(files: HostFiles): Allowed {
  const status = files.text("/proc/self/status") ?? "";
  const list = (name: string): ReadonlySet<number> | undefined => {
    const numbers = new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1];
    return numbers === undefined ? undefined : new Set(parseCpuList(numbers));
  };
  return { cpus: list("Cpus_allowed_list"), mems: list("Mems_allowed_list") };
}

function readNode(
  files: HostFiles,
  id: number,
  ids: readonly number[],
  { cpus, mems }: Allowed,
): NumaNode {
  const folder = `${NODES}/node${id}`;
  const meminfo = files.meminfo(`${folder}/meminfo`);
  const stated = (files.text(`${folder}/distance`) ?? "").trim().split(/\s+/).map(Number);
  // Distances are listed for the nodes that are online, in order.
  const usable =
    stated.length === ids.length && stated.every((d) => d >= LOCAL_DISTANCE && d <= 255);
  const distances = new Map(
    ids.map((to, i) => [to, usable ? stated[i]! : to === id ? LOCAL_DISTANCE : REMOTE_DISTANCE]),
  );
  return {
    id,
    cpus: parseCpuList(files.text(`${folder}/cpulist`) ?? "").filter(
      (cpu) => cpus?.has(cpu) ?? true,
    ),
    memTotalBytes: (mems?.has(id) ?? true) ? (meminfo.get("MemTotal") ?? 0) : 0,
    distances,
  };
}

function oneNode(files: HostFiles, degraded: string): NumaTopology {
  const meminfo = files.meminfo();
  const node: NumaNode = {
    id: 0,
    cpus: parseCpuList(files.text("/sys/devices/system/cpu/online") ?? ""),
    memTotalBytes: meminfo.get("MemTotal") ?? 0,
    distances: new Map([[0, LOCAL_DISTANCE]]),
  };
  return { nodes: [node], degraded };
}

/** Free, or the system's copy of files, which it gives up when it needs the memory. Undefined: sysfs does not say. */
export function freeBytesOf(files: HostFiles, node: number): number | undefined {
  const meminfo = files.meminfo(`${NODES}/node${node}/meminfo`);
  const of = (name: string): number => meminfo.get(name) ?? 0;
  if (!meminfo.has("MemFree")) return undefined;
  return of("MemFree") + of("Active(file)") + of("Inactive(file)");
}

/** `0-3,8,10-11`; parts that are no ranges are left out. */
export function parseCpuList(text: string): number[] {
  const cpus = new Set<number>();
  for (const part of text.trim().split(",")) {
    const [, from, to] = /^(\d+)(?:-(\d+))?$/.exec(part.trim()) ?? [];
    if (from === undefined) continue;
    const last = Math.min(Number(to ?? from), CPU_MAX);
    for (let cpu = Number(from); cpu <= last; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

/** Nodes with memory, nearest first, by id among equals. */
export function nodesByDistance(topology: NumaTopology, from: number): number[] {
  const distances = topology.nodes.find(({ id }) => id === from)?.distances;
  const distance = (id: number): number => distances?.get(id) ?? REMOTE_DISTANCE;
  return topology.nodes
    .filter(({ memTotalBytes }) => memTotalBytes > 0)
    .map(({ id }) => id)
    .sort((a, b) => distance(a) - distance(b) || a - b);
}

export interface WorkerHome {
  readonly numaNode: number;
  /** To bind the worker's thread to; none: leave it alone. */
  readonly cpus: readonly number[];
}

/** Spreads workers over the nodes with processors, in turn; each may use all processors of its node. On one node nothing is bound. */
export function workerHome(topology: NumaTopology, worker: number): WorkerHome {
  const homes = topology.nodes.filter(
    ({ cpus, memTotalBytes }) => cpus.length > 0 && memTotalBytes > 0,
  );
  const home = homes[worker % Math.max(1, homes.length)];
  if (home === undefined) return { numaNode: topology.nodes[0]!.id, cpus: [] };
  return { numaNode: home.id, cpus: homes.length > 1 ? home.cpus : [] };
}
