import { BYTES_PER_MB } from "../../base/units.js";
import { loadAddon } from "../../device/load-addon.js";
import { onnxRuntimePath } from "../../device/onnx-runtime-path.js";
import { type Machine, threadsPerRank } from "../machine.js";
import { openWorkerPool, type PoolOptions, type WorkerPool } from "./worker-pool.js";

/**
 * Within a step no wait for another rank lasts longer; a rank that died is noticed at once in another way. Long steps
 * get a multiple of what was predicted.
 */
const LEAST_DEADLINE_MS = 120_000;
const DEADLINE_STEPS = 20;
/** Room for the messages between ranks. */
export const SHARED_BYTES_PER_RANK: number = 8 * BYTES_PER_MB;

/** Workers on what a machine trains with. */
export function machinePoolOptions(
  machine: Machine,
  ranks: number = machine.cluster.ranksPerNode,
): PoolOptions {
  return { ...hostPoolOptions(ranks, machine.threadsPerRank), device: machine.cluster.device };
}

export function openMachinePool(machine: Machine): Promise<WorkerPool> {
  return openWorkerPool(machinePoolOptions(machine));
}

/**
 * Options for ranks on this machine, its cores dealt out evenly.
 *
 * @param predictedStepMs - what one step is expected to take
 */
export function hostPoolOptions(
  ranks: number,
  threads: number = threadsPerRank(ranks),
  predictedStepMs: number = 0,
): PoolOptions {
  return {
    addon: loadAddon(),
    onnxRuntimePath: onnxRuntimePath(),
    ranks,
    device: "host",
    threads,
    deadlineMs: Math.max(LEAST_DEADLINE_MS, DEADLINE_STEPS * predictedStepMs),
    sharedBytesPerRank: SHARED_BYTES_PER_RANK,
  };
}

export function openHostPool(ranks: number, threads?: number): Promise<WorkerPool> {
  return openWorkerPool(hostPoolOptions(ranks, threads));
}
