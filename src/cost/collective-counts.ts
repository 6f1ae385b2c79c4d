import { EMBEDDING_KIND, HEAD_KIND } from "../model/model-profile.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { TensorSplit } from "../plan/strategy.js";

/** Tensor collectives of one layer and micro-batch, each of the whole activation `[S, b, H]`. */
export interface CollectiveCounts {
  readonly forwardGathers: number;
  readonly forwardScatters: number;
  readonly backwardGathers: number;
  readonly backwardScatters: number;
  /** All-to-alls each way: of a query or an output, and of a key or a value. */
  readonly wideExchanges: number;
  readonly narrowExchanges: number;
  /** Small all-reduces of one float per position: the maximum and the sum of a cut softmax. */
  readonly rowReductions: number;
}

const NONE: CollectiveCounts = {
  forwardGathers: 0,
  forwardScatters: 0,
  backwardGathers: 0,
  backwardScatters: 0,
  wideExchanges: 0,
  narrowExchanges: 0,
  rowReductions: 0,
};

/**
 * A layer of `regions` parallel regions under weights split: every region gathers its input and scatters its output
 * (Korthikanti et al. 2022, 4.2.2); backward is the conjugate.
 */
const regions = (count: number): CollectiveCounts => ({
  ...NONE,
  forwardGathers: count,
  forwardScatters: count,
  backwardGathers: count,
  backwardScatters: count,
});

/** `count` attentions under sequence split (Jacobs et al. 2023, 3.1). */
const attentions = (count: number): CollectiveCounts => ({
  ...NONE,
  wideExchanges: 2 * count,
  narrowExchanges: 2 * count,
});

/** What the layer graphs of a kind do, counted. Scalars and small tables are left out. */
export function collectiveCounts(model: ModelSpec, kind: string, split: TensorSplit): CollectiveCounts {
  const weights = split === "weights";
  const image = model.family === "vit" || model.family === "swin";
  if (kind === EMBEDDING_KIND) {
    if (!weights || image) return NONE;
    // T5 embeds both of its sequences.
    const tables = model.family === "t5" ? 2 : 1;
    return { ...NONE, forwardScatters: tables, backwardGathers: tables };
  }
  if (kind === HEAD_KIND) {
    if (!weights || image) return NONE;
    return { ...NONE, forwardGathers: 1, backwardScatters: 1, rowReductions: 2 };
  }
  if (model.family === "t5" && kind.startsWith("decoder")) {
    if (!weights) return attentions(2);
    // Self-attention, cross-attention, feed-forward; and what the encoder gave is gathered for cross-attention.
    return { ...regions(3), forwardGathers: 4, backwardScatters: 4 };
  }
  if (model.family === "swin") {
    // Patch merging needs whole rows of patches; a layer is a pair of blocks, plain and shifted.
    if (kind.startsWith("merge")) return { ...NONE, forwardGathers: 1, backwardScatters: 1 };
    return weights ? regions(4) : attentions(2);
  }
  // Attention and feed-forward side by side get one gradient, gathered once.
  if (weights && model.options.parallel === true) return { ...regions(2), backwardGathers: 1 };
  return weights ? regions(2) : attentions(1);
}

/** Activations at a border between layers: T5 carries the other sequence along. */
export function borderTensors(model: ModelSpec): number {
  return model.family === "t5" ? 2 : 1;
}
