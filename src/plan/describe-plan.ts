import type { Plan } from "./plan.js";
import { firstLayerOfStage } from "./stages.js";
import { strategyText } from "./strategy-text.js";

/** A plan in lines for people: the outer choices, the vocabulary, then runs of equal layers by stage. */
export function describePlan(plan: Plan): readonly string[] {
  const lines = [
    `${plan.ranks} ranks, ${plan.stageLayers.length} stage(s), ${plan.schedule}, ${plan.precision}`,
    `global batch ${plan.globalBatch} in ${plan.microBatches} micro-batch(es)`,
    `embedding and head: ${strategyText(plan.vocabulary)}`,
  ];
  for (const [stage, count] of plan.stageLayers.entries()) {
    const first = firstLayerOfStage(plan, stage);
    lines.push(`stage ${stage}: ${layerRuns(plan, first, first + count).join(", ")}`);
  }
  return lines;
}

/** "layers 0-3 tp2·dp2" for every run of equal strategies in `[first, end)`. */
function layerRuns(plan: Plan, first: number, end: number): readonly string[] {
  const runs: string[] = [];
  for (let from = first; from < end; ) {
    const text = strategyText(plan.layers[from]!);
    let to = from + 1;
    while (to < end && strategyText(plan.layers[to]!) === text) to++;
    runs.push(`${to - from === 1 ? `layer ${from}` : `layers ${from}-${to - 1}`} ${text}`);
    from = to;
  }
  return runs;
}
