import { existsSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { GalvatronError } from "../base/errors.js";
import type { Cluster } from "../cluster/cluster.js";
import type { NativeProbe } from "../device/addon.js";

/** Ranks by default: one per core, but two at least (one would train nothing in parallel) and not more than this. */
const MOST_DEFAULT_RANKS = 4;

/** ONNX Runtime opens it from beside its core. */
const CUDA_PROVIDER = "libonnxruntime_providers_cuda.so";

/** The host as a cluster of one node. */
export interface Machine {
  readonly cluster: Cluster;
  readonly cores: number;
  /** Threads of a graph run in each rank. */
  readonly threadsPerRank: number;
}

/** Where ONNX Runtime looks for its CUDA provider: beside its own library. */
export function cudaProviderPath(onnxRuntimePath: string): string {
  return join(dirname(onnxRuntimePath), CUDA_PROVIDER);
}

/**
 * The GPUs of this host as a cluster of one node, or null where there are none.
 *
 * @param ranks - GPUs to use, all when left out
 * @throws GalvatronError ARGUMENT_INVALID: more than there are
 */
export function cudaMachine(probe: NativeProbe, ranks: number = probe.devices.length): Machine | null {
  const [first] = probe.devices;
  if (!first || !existsSync(cudaProviderPath(probe.onnxRuntime.path))) return null;
  if (ranks > probe.devices.length)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected at most ${probe.devices.length} GPUs, which this machine has; got ${ranks}.`,
      { ranks },
    );
  return {
    cluster: {
      name: "this machine",
      device: "cuda",
      deviceName: first.name,
      nodes: 1,
      ranksPerNode: ranks,
      memoryBytesPerRank: Math.min(...probe.devices.slice(0, ranks).map((device) => device.memoryBytes)),
    },
    cores: availableParallelism(),
    threadsPerRank: 1,
  };
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

function defaultRanks(): number {
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
