import type { Plan } from "../plan/plan.js";
import { gpipeStage } from "./gpipe.js";
import { oneForwardOneBackwardStage } from "./one-f-one-b.js";

/** One pass of one micro-batch through a stage. */
export interface StageOperation {
  readonly pass: "forward" | "backward";
  readonly microBatch: number;
}

/** What a stage does in one step, in order. */
export function stageOperations(plan: Plan, stage: number): readonly StageOperation[] {
  const stages = plan.stageLayers.length;
  return plan.schedule === "gpipe"
    ? gpipeStage(plan.microBatches)
    : oneForwardOneBackwardStage(stages, stage, plan.microBatches);
}
