import { availableParallelism, cpus, totalmem } from "node:os";
import type { Cluster } from "../cluster/cluster.js";

/** Ranks by default: one per core, but two at least (one would train nothing in parallel) and not more than this. */
const MOST_DEFAULT_RANKS = 4;

/** The host as a cluster of one node. */
export interface Machine {
  readonly cluster: Cluster;
  readonly cores: number;
  /** Threads of a graph run in each rank. */
  readonly threadsPerRank: number;
}

/** This machine with its cores dealt out to ranks. */
export function hostMachine(ranks: number = defaultRanks()): Machine {
  const cores = availableParallelism();
  return {
    cluster: {
      name: "this machine",
      device: "host",
      deviceName: cpus()[0]?.model.trim() || "unknown processor",
      nodes: 1,
      ranksPerNode: ranks,
      memoryBytesPerRank: Math.floor(memoryBytes() / ranks),
    },
    cores,
    threadsPerRank: threadsPerRank(ranks),
  };
}

export function defaultRanks(): number {
  return Math.min(MOST_DEFAULT_RANKS, Math.max(2, availableParallelism()));
}

/** Cores per rank, one at least. */
export function threadsPerRank(ranks: number): number {
  return Math.max(1, Math.floor(availableParallelism() / ranks));
}

/** Memory that this process may use: the container's limit where there is one. */
function memoryBytes(): number {
  const limit = process.constrainedMemory();
  const total = totalmem();
  return limit > 0 && limit < total ? limit : total;
}
