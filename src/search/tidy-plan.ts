import type { CostModel } from "../cost/cost-model.js";
import { predictWith } from "../cost/predict.js";
import type { Prediction } from "../cost/prediction.js";
import type { Plan } from "../plan/plan.js";
import { firstLayerOfStage } from "../plan/stages.js";
import type { Strategy } from "../plan/strategy.js";
import { strategyText } from "../plan/strategy-text.js";
import type { SpaceOptions } from "./space.js";

/** So much may sums of the same terms in another order differ. */
const ROUNDING = 1e-12;

/**
 * Of the plans that are as fast and fit, the one that people and other tools expect: all groups consecutive, layers of
 * equal strategy side by side.
 */
export function tidied(
  cost: CostModel,
  plan: Plan,
  budgetBytes: number,
  space: SpaceOptions,
): { readonly plan: Plan; readonly prediction: Prediction } {
  let best = { plan, prediction: predictWith(cost, plan) };
  const consider = (other: Plan): void => {
    const prediction = predictWith(cost, other);
    if (prediction.stages.some(({ memory }) => memory.totalBytes > budgetBytes)) return;
    if (prediction.stepMs <= best.prediction.stepMs * (1 + ROUNDING)) best = { plan: other, prediction };
  };
  const consecutiveAllowed =
    !space.strategies && (space.placements ?? ["consecutive"]).includes("consecutive");
  const strided = [...plan.layers, plan.vocabulary].some(({ placement }) => placement !== "consecutive");
  if (consecutiveAllowed && strided) consider(consecutive(plan));
  const gathered = sideBySide(best.plan, cost.model.layers);
  if (gathered.layers.some((strategy, layer) => strategy !== best.plan.layers[layer])) consider(gathered);
  return best;
}

function consecutive(plan: Plan): Plan {
  const placed = (strategy: Strategy): Strategy => ({ ...strategy, placement: "consecutive" });
  return { ...plan, layers: plan.layers.map(placed), vocabulary: placed(plan.vocabulary) };
}

/** Inside each stage, neighbours of one kind in the order in which their strategies first come. */
function sideBySide(plan: Plan, kinds: readonly string[]): Plan {
  const layers: Strategy[] = [];
  for (const [stage, count] of plan.stageLayers.entries()) {
    const end = firstLayerOfStage(plan, stage) + count;
    while (layers.length < end) {
      const kind = kinds[layers.length]!;
      const groups = new Map<string, Strategy[]>();
      for (let layer = layers.length; layer < end && kinds[layer] === kind; layer++) {
        const strategy = plan.layers[layer]!;
        const key = strategyText(strategy);
        groups.set(key, [...(groups.get(key) ?? []), strategy]);
      }
      for (const group of groups.values()) layers.push(...group);
    }
  }
  return { ...plan, layers };
}
