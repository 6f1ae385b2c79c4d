import { EMBEDDING_KIND, HEAD_KIND } from "./model-profile.js";
import type { ModelSpec } from "./model-spec.js";

/** Columns of T5's table of relative positions. */
const BUCKETS = 32;

/**
 * Elements of a kind that every rank of a tensor group holds whole under the weights split (norms, row biases, position
 * tables): their gradients are added up over the group once a step. As the layer graphs declare them.
 */
export function wholeElements(model: ModelSpec, kind: string): number {
  const { family, layers, kinds, options } = model;
  const end = kind === EMBEDDING_KIND ? layers[0] : kind === HEAD_KIND ? layers.at(-1) : kind;
  const { hidden, heads, sequence, parameters } = kinds[end ?? ""]!;
  const image = family === "vit" || family === "swin";
  if (kind === EMBEDDING_KIND) {
    if (image) return model.embedding.parameters;
    if (family === "gpt") return Math.max(0, model.embedding.parameters - model.vocabulary * hidden);
    if (family === "bert") return (sequence + 4) * hidden;
    return family === "t5" ? 2 * BUCKETS * heads : 0;
  }
  const norm = family === "llama" || family === "t5" ? 1 : 2;
  if (kind === HEAD_KIND) {
    if (image) return model.head.parameters;
    return family === "bert" ? (hidden + 3) * hidden : norm * hidden;
  }
  if (family === "llama") return 2 * hidden;
  if (family === "t5") return (kind.startsWith("decoder") || kind === "encoderEnd" ? 3 : 2) * hidden;
  if (kind.startsWith("merge")) return parameters;
  // Two norms and the biases of two outputs.
  if (family !== "swin") return 6 * hidden;
  // A layer is two blocks; each has a table of the offsets in a window.
  const offsets = (2 * Number(options.window ?? 7) - 1) ** 2;
  return 2 * (6 * hidden + offsets * heads);
}

/** Elements of the table that embedding and head share, as one rank of each end holds it. */
export function tiedElements(model: ModelSpec, weightShare: number): number {
  return model.head.tied
    ? (model.vocabulary * model.kinds[model.layers.at(-1) ?? ""]!.hidden) / weightShare
    : 0;
}
