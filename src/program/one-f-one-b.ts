import type { StageOperation } from "./schedule.js";

/**
 * 1F1B with flush (PipeDream-Flush, Narayanan et al. 2021): `stages - 1 - stage` forwards to warm up, then one
 * forward and one backward in turn, then the remaining backwards. At most `stages - stage` micro-batches are in flight.
 */
export function oneForwardOneBackwardStage(
  stages: number,
  stage: number,
  microBatches: number,
): readonly StageOperation[] {
  const warmUp = Math.min(stages - 1 - stage, microBatches);
  const operations: StageOperation[] = [];
  for (let microBatch = 0; microBatch < warmUp; microBatch++) {
    operations.push({ pass: "forward", microBatch });
  }
  for (let microBatch = warmUp; microBatch < microBatches; microBatch++) {
    operations.push({ pass: "forward", microBatch });
    operations.push({ pass: "backward", microBatch: microBatch - warmUp });
  }
  for (let microBatch = microBatches - warmUp; microBatch < microBatches; microBatch++) {
    operations.push({ pass: "backward", microBatch });
  }
  return operations;
}
