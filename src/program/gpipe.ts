import type { StageOperation } from "./schedule.js";

/**
 * GPipe (Huang et al. 2019): all forwards, then all backwards, in the order of the micro-batches. (First in, first
 * out: gradients add up in the same order as under 1F1B, so both give the same bits.)
 */
export function gpipeStage(microBatches: number): readonly StageOperation[] {
  const order = Array.from({ length: microBatches }, (_, microBatch) => microBatch);
  return [
    ...order.map((microBatch): StageOperation => ({ pass: "forward", microBatch })),
    ...order.map((microBatch): StageOperation => ({ pass: "backward", microBatch })),
  ];
}
