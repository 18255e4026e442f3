/**
 * The NUMA node of a worker: workers are spread over the nodes in turn, and a worker's thread runs on the processors of its node, so that memory it
 * touches first, or asks for there, is near. Threads that it starts later (log, memory) inherit that: it happens before everything else.
 *
 * On a machine with one node nothing is bound and nothing else changes.
 */
import { isMainThread } from "node:worker_threads";
import { HostFiles, memoryDoor, Placer, readNumaTopology, workerHome } from "@pinion/storage";

export const NUMA_AFFINITIES = Object.freeze(["auto", "off"] as const);
export type NumaAffinity = (typeof NUMA_AFFINITIES)[number];

/** Where a worker runs, for the command line. */
export interface WorkerHomeReport {
  readonly node: number;
  /** Of the machine, as far as this process may use them. */
  readonly nodes: readonly number[];
  /** What the worker's thread is bound to; none: it runs anywhere. */
  readonly boundCpus: readonly number[];
  /** Why it is not bound although there are several nodes; undefined when it is, or there is one. */
  readonly unbound: string | undefined;
}

export interface WorkerHome {
  readonly placer: Placer;
  readonly report: WorkerHomeReport;
}

/**
 * Finds the node of a worker, and binds the calling thread to its processors where that is wanted.
 * @param files where /proc and /sys are read
 */
export function takeHome(
  worker: number,
  affinity: NumaAffinity,
  files: HostFiles = new HostFiles(),
): WorkerHome {
  const topology = readNumaTopology(files);
  const { numaNode, cpus } = workerHome(topology, worker);
  const placer = new Placer({ files, topology, home: numaNode });
  const unbound = cpus.length === 0 ? undefined : bind(cpus, affinity);
  const boundCpus = unbound === undefined ? cpus : [];
  return {
    placer,
    report: { node: numaNode, nodes: topology.nodes.map(({ id }) => id), boundCpus, unbound },
  };
}

/** @returns why it could not be done */
function bind(cpus: readonly number[], affinity: NumaAffinity): string | undefined {
  if (affinity === "off") return "numaAffinity is off";
  // Its threads are those of the whole process, which may have work for all processors.
  if (isMainThread) return "it runs in the main thread";
  return memoryDoor().bindThread(cpus) ? undefined : "the system refused";
}
