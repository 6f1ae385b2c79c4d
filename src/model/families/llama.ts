import { flag, type ModelOptions, mustDivide, mustKnow, positive, positiveReal } from "../model-options.js";
import type { LayerKind, ModelSpec } from "../model-spec.js";

/** A LLaMA that trains on a laptop, with grouped heads. */
const LLAMA_DEFAULTS: ModelOptions = {
  layers: 8,
  hidden: 256,
  heads: 8,
  keyValueHeads: 0,
  /** Width of a head; 0 is hidden / heads. */
  headWidth: 0,
  feedForward: 0,
  sequence: 256,
  vocabulary: 256,
  tied: false,
  /** Biases on query, key and value: Qwen2. */
  queryKeyValueBias: false,
  theta: 10000,
  epsilon: 1e-5,
  initializerRange: 0.02,
};

const LLAMA1 = { vocabulary: 32000, sequence: 2048, epsilon: 1e-6 };
const LLAMA2 = { vocabulary: 32000, sequence: 4096 };
const QWEN = { queryKeyValueBias: true, theta: 1e6, epsilon: 1e-6, sequence: 4096 };

/**
 * Touvron et al. 2023a, table 2; Touvron et al. 2023b; Qwen2.5 technical report 2024, table 1, as published in the
 * models' configurations; "llama-0.3b" is a size that Galvatron ships.
 */
export const LLAMA_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "llama-0.3b": { ...LLAMA1, layers: 24, hidden: 1024, heads: 16, feedForward: 2816 },
  "llama-7b": { ...LLAMA1, layers: 32, hidden: 4096, heads: 32, feedForward: 11008 },
  "llama-13b": { ...LLAMA1, layers: 40, hidden: 5120, heads: 40, feedForward: 13824 },
  "llama-30b": { ...LLAMA1, layers: 60, hidden: 6656, heads: 52, feedForward: 17920 },
  "llama2-7b": { ...LLAMA2, layers: 32, hidden: 4096, heads: 32, feedForward: 11008 },
  "llama2-70b": { ...LLAMA2, layers: 80, hidden: 8192, heads: 64, keyValueHeads: 8, feedForward: 28672 },
  "qwen2.5-1.5b": {
    ...QWEN,
    layers: 28,
    hidden: 1536,
    heads: 12,
    keyValueHeads: 2,
    feedForward: 8960,
    vocabulary: 151936,
    tied: true,
  },
  "qwen2.5-3b": {
    ...QWEN,
    layers: 36,
    hidden: 2048,
    heads: 16,
    keyValueHeads: 2,
    feedForward: 11008,
    vocabulary: 151936,
    tied: true,
  },
  "qwen2.5-7b": {
    ...QWEN,
    layers: 28,
    hidden: 3584,
    heads: 28,
    keyValueHeads: 4,
    feedForward: 18944,
    vocabulary: 152064,
  },
  "qwen2.5-72b": {
    ...QWEN,
    layers: 80,
    hidden: 8192,
    heads: 64,
    keyValueHeads: 8,
    feedForward: 29568,
    vocabulary: 152064,
  },
};

/** Two thirds of four times the width, rounded up to a multiple of 256 (Touvron et al. 2023a). */
function gatedWidth(hidden: number): number {
  return 256 * Math.ceil((8 * hidden) / 3 / 256);
}

/** A LLaMA or Qwen2 decoder: RMS norm, rotary positions, SwiGLU, grouped heads. */
export function llamaSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("llama", given, LLAMA_DEFAULTS);
  const options: ModelOptions = { ...LLAMA_DEFAULTS, ...given };
  const layers = positive(options, "layers");
  const hidden = positive(options, "hidden");
  const heads = positive(options, "heads");
  const keyValueHeads = options.keyValueHeads === 0 ? heads : positive(options, "keyValueHeads");
  const sequence = positive(options, "sequence");
  const vocabulary = positive(options, "vocabulary");
  const feedForward = options.feedForward === 0 ? gatedWidth(hidden) : positive(options, "feedForward");
  if (options.headWidth === 0) mustDivide("hidden", hidden, heads, "heads");
  const headWidth = options.headWidth === 0 ? hidden / heads : positive(options, "headWidth");
  mustDivide("heads", heads, keyValueHeads, "keyValueHeads");
  mustDivide("width of a head", headWidth, 2, "a pair of rotary positions");
  const bias = flag(options, "queryKeyValueBias");
  const [queries, keys] = [heads * headWidth, keyValueHeads * headWidth];
  const matrices = hidden * (2 * queries + 2 * keys) + 3 * hidden * feedForward;
  const kind: LayerKind = {
    name: "decoder",
    hidden,
    heads,
    keyValueHeads,
    feedForward,
    sequence,
    parameters: matrices + 2 * hidden + (bias ? queries + 2 * keys : 0),
    // Causal attention: each query meets half of the keys on average.
    forwardFlops: 2 * sequence * matrices + 2 * sequence * sequence * queries,
  };
  return {
    family: "llama",
    name,
    sequence,
    vocabulary,
    kinds: { decoder: kind },
    layers: new Array<string>(layers).fill("decoder"),
    embedding: { parameters: vocabulary * hidden },
    head: {
      parameters: vocabulary * hidden + hidden,
      forwardFlops: 2 * sequence * hidden * vocabulary,
      tied: flag(options, "tied"),
    },
    options: {
      headWidth,
      queryKeyValueBias: bias,
      theta: positiveReal(options, "theta"),
      epsilon: positiveReal(options, "epsilon"),
      initializerRange: positiveReal(options, "initializerRange"),
    },
  };
}
