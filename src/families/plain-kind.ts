import type { Init } from "../graph/layer-graphs.js";
import { type ModelOptions, mustDivide, oneOf, positive, positiveReal } from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";

/** Sizes of a model with layers of one kind; a `feedForward` of 0 is four times the width. */
export function plainSizes(
  options: ModelOptions,
): Readonly<Record<"layers" | "hidden" | "heads" | "feedForward", number>> {
  const [layers, hidden, heads] = ["layers", "hidden", "heads"].map((name) => positive(options, name)) as [
    number,
    number,
    number,
  ];
  mustDivide("hidden", hidden, heads, "heads");
  const feedForward = options.feedForward === 0 ? 4 * hidden : positive(options, "feedForward");
  return { layers, hidden, heads, feedForward };
}

/** Sizes of a model that reads text; `positions` of 0 are as many as the sequence has. */
export function textSizes(
  options: ModelOptions,
): Readonly<Record<"sequence" | "vocabulary" | "positions", number>> {
  const sequence = positive(options, "sequence");
  const positions = options.positions === 0 ? sequence : positive(options, "positions");
  return { sequence, vocabulary: positive(options, "vocabulary"), positions };
}

/** What graphs of layers with GELU and norms read of a model. */
export function blockOptions(options: ModelOptions): {
  readonly activation: "gelu" | "gelu-tanh";
  readonly epsilon: number;
  readonly initializerRange: number;
} {
  return {
    activation: oneOf(options, "activation", ["gelu", "gelu-tanh"]),
    epsilon: positiveReal(options, "epsilon"),
    initializerRange: positiveReal(options, "initializerRange"),
  };
}

/** How most weights of a model start. */
export function initialNormal({ options }: Pick<ModelSpec, "options">): Init {
  return { kind: "normal", standardDeviation: Number(options.initializerRange) };
}

/**
 * A Transformer layer with biases everywhere and two norms (BERT, ViT, GPT-2): q, k, v, output, and a feed-forward of
 * two matrices.
 * @param keys keys that a query meets on average
 */
export function plainKind(
  name: string,
  sizes: Pick<LayerKind, "hidden" | "heads" | "feedForward" | "sequence">,
  keys: number,
): LayerKind {
  const { hidden, feedForward, sequence } = sizes;
  const matrices = 4 * hidden * hidden + 2 * hidden * feedForward;
  const biases = 4 * hidden + feedForward + hidden;
  return {
    name,
    ...sizes,
    keyValueHeads: sizes.heads,
    parameters: matrices + biases + 4 * hidden,
    forwardFlops: 2 * sequence * matrices + 4 * sequence * keys * hidden,
  };
}
