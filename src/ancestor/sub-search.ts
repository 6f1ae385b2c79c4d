import { type AncestorStrategy, splitDegree } from "./ancestor-strategy.js";
import type { AncestorCase } from "./case.js";
import { bufferMB } from "./cost/buffer-memory.js";
import type { FittedProfile } from "./cost/fitted-profile.js";
import { degreesUpTo } from "./divisors.js";

/** Which splits a sub-search allows beside plain data parallelism. */
type SplitMode = "tp_only" | "sp_only" | "tp_with_sp";

/** The ancestor's innermost outer choice: which splits, up to which degree, and the shared buffer that this costs. */
export interface SubSearch {
  readonly mode: SplitMode;
  readonly bufferSplit: number;
  /** MB of the shared buffer on every stage. */
  readonly bufferMB: number;
}

/**
 * The ancestor's sub-searches of one batch, number of micro-batches and pipeline degree, in its order.
 * The buffer grows with the largest split degree that the sub-search allows.
 */
export function subSearches(
  search: AncestorCase,
  profile: FittedProfile,
  globalBatch: number,
  microBatches: number,
  stages: number,
  everyDegree: boolean,
): readonly SubSearch[] {
  const ranks = search.nodes * search.gpusPerNode;
  const stageRanks = Math.floor(ranks / stages);
  const widest = Math.min(stageRanks, search.maxTensor);
  const narrowest = Math.floor(stageRanks / mostData(search, globalBatch, microBatches, stages));
  const buffers = search.sequenceParallel && search.globalMemoryBuffer;
  const price = (mode: SplitMode, bufferSplit: number): SubSearch => ({
    mode,
    bufferSplit,
    bufferMB:
      buffers && mode !== "sp_only"
        ? bufferMB(profile, ranks, stages, bufferSplit, globalBatch, microBatches)
        : 0,
  });
  const found: SubSearch[] = [];
  for (const mode of ["tp_only", "sp_only", "tp_with_sp"] as const) {
    if (mode === "sp_only") {
      found.push(price(mode, widest));
      continue;
    }
    for (const split of degreesUpTo(stageRanks, everyDegree)) {
      if (split >= narrowest && split <= widest && split * stages <= ranks) found.push(price(mode, split));
    }
  }
  return found;
}

/** No more data ranks than there are samples in a micro-batch, nor than ranks on a stage. */
export function mostData(
  search: AncestorCase,
  globalBatch: number,
  microBatches: number,
  stages: number,
): number {
  const stageRanks = Math.floor((search.nodes * search.gpusPerNode) / stages);
  return Math.max(1, Math.min(Math.floor(globalBatch / microBatches), stageRanks));
}

/** Whether a sub-search considers a strategy. */
export function allows(sub: SubSearch, strategy: AncestorStrategy): boolean {
  if (splitDegree(strategy) > sub.bufferSplit) return false;
  if (sub.mode === "tp_only") return strategy.sequence === 1;
  if (sub.mode === "sp_only") return strategy.tensor === 1;
  return true;
}

/** MB that a rank may use, and what of the budget the ancestor keeps back for the allocator: a fifth above 20 GB. */
export function memoryBudget(memoryGB: number): { readonly usableMB: number; readonly reserveMB: number } {
  const totalMB = memoryGB * 1024;
  const reserveMB = memoryGB > 20 ? Math.trunc(totalMB * 0.2) : 0;
  return { usableMB: totalMB - reserveMB, reserveMB };
}
