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
 * Of the plans that are as fast and fit, the one that people and other tools expect: all groups consecutive, no second way
 * of data parallelism where it gains nothing, layers of equal strategy side by side.
 */
export function tidied(
  cost: CostModel,
  plan: Plan,
  budgetBytes: number,
  space: SpaceOptions,
): { readonly plan: Plan; readonly prediction: Prediction } {
  let best = { plan, prediction: predictWith(cost, plan) };
  const consider = (other: Plan): boolean => {
    const prediction = predictWith(cost, other);
    if (prediction.stages.some(({ memory }) => memory.totalBytes > budgetBytes)) return false;
    if (prediction.stepMs > best.prediction.stepMs * (1 + ROUNDING)) return false;
    best = { plan: other, prediction };
    return true;
  };
  const consecutiveAllowed =
    !space.strategies && (space.placements ?? ["consecutive"]).includes("consecutive");
  const strided = [...plan.layers, plan.vocabulary].some(({ placement }) => placement !== "consecutive");
  if (consecutiveAllowed && strided) consider(consecutive(plan));
  while (withOneFewer(best.plan, cost.model.layers).some(consider));
  const gathered = sideBySide(best.plan, cost.model.layers);
  if (gathered.layers.some((strategy, layer) => strategy !== best.plan.layers[layer])) consider(gathered);
  return best;
}

function consecutive(plan: Plan): Plan {
  const placed = (strategy: Strategy): Strategy => ({ ...strategy, placement: "consecutive" });
  return { ...plan, layers: plan.layers.map(placed), vocabulary: placed(plan.vocabulary) };
}

/**
 * Each time with all layers of one kind and strategy under another that at least as many of the kind have and that differs in
 * data parallelism alone.
 */
function withOneFewer(plan: Plan, kinds: readonly string[]): readonly Plan[] {
  return [...new Set(kinds)].flatMap((kind) => {
    const layersOf = new Map<string, number[]>();
    for (const [layer, strategy] of plan.layers.entries()) {
      if (kinds[layer] !== kind) continue;
      const key = strategyText(strategy);
      layersOf.set(key, [...(layersOf.get(key) ?? []), layer]);
    }
    const groups = [...layersOf.values()].sort((a, b) => a.length - b.length);
    return groups.flatMap((rarer, index) =>
      groups.slice(index + 1).flatMap(([other]) => {
        const to = plan.layers[other!]!;
        const same = { ...plan.layers[rarer[0]!]!, dataParallel: to.dataParallel };
        if (strategyText(same) !== strategyText(to)) return [];
        return [
          { ...plan, layers: plan.layers.map((strategy, layer) => (rarer.includes(layer) ? to : strategy)) },
        ];
      }),
    );
  });
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
