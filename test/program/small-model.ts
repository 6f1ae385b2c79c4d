import { layerGraphs } from "../../src/families/layer-graphs.js";
import { modelSpec } from "../../src/families/registry.js";
import type { LayerGraphs, LayerRequest } from "../../src/graph/layer-graphs.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { type LoweredPlan, type LowerOptions, lowerPlan } from "../../src/program/lower-plan.js";

/** A GPT whose every size divides by 8. */
export function smallModel(layers: number, options: { readonly tied?: boolean } = {}): ModelSpec {
  return modelSpec("gpt", {
    layers,
    hidden: 32,
    heads: 8,
    sequence: 16,
    vocabulary: 61,
    tied: options.tied ?? true,
  });
}

const built = new Map<string, LayerGraphs>();

/** Lowers with the real graphs, each built once for all tests of a file. */
export function lower(
  model: ModelSpec,
  plan: Plan,
  options: Omit<LowerOptions, "graphsFor"> = {},
): LoweredPlan {
  const graphsFor = (request: LayerRequest): LayerGraphs => {
    const key = JSON.stringify([model.kinds, model.head, model.vocabulary, request]);
    let graphs = built.get(key);
    if (graphs === undefined) {
      graphs = layerGraphs(model, request);
      built.set(key, graphs);
    }
    return graphs;
  };
  return lowerPlan(model, plan, { ...options, graphsFor });
}
