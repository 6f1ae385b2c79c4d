import type { ModelSpec } from "./model-spec.js";

/** Parameters of the whole model; a table that embedding and head share counts once. */
export function parameterCount(model: ModelSpec): number {
  const body = model.layers.reduce((sum, kind) => sum + model.kinds[kind]!.parameters, 0);
  const last = model.kinds[model.layers[model.layers.length - 1]!]!;
  const shared = model.head.tied ? model.vocabulary * last.hidden : 0;
  return body + model.embedding.parameters + model.head.parameters - shared;
}
