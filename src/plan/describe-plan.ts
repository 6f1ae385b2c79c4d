import type { Plan } from "./plan.js";
import { firstLayerOfStage } from "./stages.js";
import { strategyText } from "./strategy-text.js";

/** A plan in lines for people: the outer choices, the vocabulary, then runs of equal layers by stage. */
export function describePlan(plan: Plan): readonly string[] {
  const lines = [
    `${plan.ranks} ranks, ${plan.stageLayers.length} stage(s), ${plan.schedule}, ${plan.precision}`,
    `global batch ${plan.globalBatch} in ${plan.microBatches} micro-batch(es)${plan.gradientOrder === "canonical" ? ", gradients in canonical order" : ""}`,
    `embedding and head: ${strategyText(plan.vocabulary)}`,
  ];
  const { stageLayers } = plan;
  for (let stage = 0; stage < stageLayers.length; ) {
    const text = stageText(plan, stage);
    let end = stage + 1;
    while (text.uniform && end < stageLayers.length && alike(plan, stage, end)) end++;
    lines.push(
      end - stage < 3
        ? `stage ${stage}: ${text.runs}`
        : `stages ${stage}-${end - 1}: ${stageLayers[stage]} layer(s) each, ${strategyText(plan.layers[text.first]!)}`,
    );
    stage = end - stage < 3 ? stage + 1 : end;
  }
  return lines;
}

function stageText(plan: Plan, stage: number): { first: number; runs: string; uniform: boolean } {
  const first = firstLayerOfStage(plan, stage);
  const runs = layerRuns(plan, first, first + plan.stageLayers[stage]!);
  return { first, runs: runs.join(", "), uniform: runs.length === 1 };
}

/** Two stages of as many layers, all of one strategy. */
function alike(plan: Plan, stage: number, other: number): boolean {
  if (plan.stageLayers[stage] !== plan.stageLayers[other]) return false;
  const strategies = [stage, other].flatMap((at) => {
    const first = firstLayerOfStage(plan, at);
    return plan.layers.slice(first, first + plan.stageLayers[at]!).map(strategyText);
  });
  return new Set(strategies).size === 1;
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
