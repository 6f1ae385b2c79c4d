import { rankAt } from "../../cluster/rank-groups.js";
import type { Plan } from "../../plan/plan.js";
import { strategyGrid } from "../../plan/stages.js";

/**
 * The step's mean loss from the ranks' shares by micro-batch, added up in float64 in the order of the samples: plans
 * that only deal out micro-batches otherwise give the same bits.
 */
export function stepLoss(plan: Plan, ranks: readonly { readonly losses: Float32Array }[]): number {
  const grid = strategyGrid(plan, plan.vocabulary, plan.stageLayers.length - 1);
  let loss = 0;
  for (let microBatch = 0; microBatch < plan.microBatches; microBatch++)
    for (let data = 0; data < grid.dataDegree; data++)
      for (let tensor = 0; tensor < grid.tensorDegree; tensor++)
        loss += ranks[rankAt(grid, tensor, data)]?.losses[microBatch] ?? Number.NaN;
  return loss;
}
