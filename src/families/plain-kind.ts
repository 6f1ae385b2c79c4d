import type { LayerKind } from "../model/model-spec.js";

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
