import { layerGraphs } from "../graph/build-layer-graphs.js";
import type { LayerGraphs, LayerRequest } from "../graph/layer-graphs.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { type LoweredPlan, lowerPlan } from "../program/lower-plan.js";

/** Programs and graphs of a plan; layers alike share their graphs. */
export function compilePlan(model: ModelSpec, plan: Plan): LoweredPlan {
  const known = new Map<string, LayerGraphs>();
  const graphsFor = (request: LayerRequest): LayerGraphs => {
    const key = JSON.stringify(request);
    const graphs = known.get(key) ?? layerGraphs(model, request);
    known.set(key, graphs);
    return graphs;
  };
  return lowerPlan(model, plan, { graphsFor });
}
