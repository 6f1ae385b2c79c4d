import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { samplesPerRank } from "../plan/stages.js";
import { kindShape } from "./layer-cost.js";
import { type LayerLookup, layerWork } from "./layer-lookup.js";
import { stageParts } from "./stage-cost.js";

/** Bytes that ONNX Runtime takes at most in one graph of a stage, as profiled; 0 where no part of it was. */
export function stageWorkspaceBytes(
  lookup: LayerLookup,
  model: ModelSpec,
  plan: Plan,
  stage: number,
): number {
  const parts = stageParts(plan, model.layers)[stage] ?? [];
  return Math.max(
    0,
    ...parts.map(({ kind, strategy }) => {
      const { tensorDegree, tensorSplit } = strategy;
      const samples = samplesPerRank(plan, strategy);
      const { sequence } = kindShape(model, kind);
      return layerWork(lookup, kind, tensorDegree, tensorSplit, samples, sequence)?.workspaceBytes ?? 0;
    }),
  );
}
