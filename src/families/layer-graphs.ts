import { buildLayerGraphs, type LayerGraphsOptions } from "../graph/build-layer-graphs.js";
import type { LayerGraphs, LayerRequest } from "../graph/layer-graphs.js";
import type { ModelSpec } from "../model/model-spec.js";
import { familyOf } from "./registry.js";

/**
 * The graphs of one layer of a model under one strategy, forward and backward.
 *
 * @throws GalvatronError `PLAN_INVALID` when heads, widths, vocabulary or sequence do not divide over the tensor group,
 * `MODEL_UNKNOWN` for a model of no known family
 */
export function layerGraphs(
  model: ModelSpec,
  request: LayerRequest,
  options: LayerGraphsOptions = {},
): LayerGraphs {
  return buildLayerGraphs(familyOf(model.family).layers, model, request, options);
}
