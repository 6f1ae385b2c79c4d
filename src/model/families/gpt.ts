import {
  flag,
  type ModelOptions,
  mustDivide,
  mustKnow,
  oneOf,
  positive,
  positiveReal,
} from "../model-options.js";
import type { ModelSpec } from "../model-spec.js";

import { plainKind } from "./plain-kind.js";

/** A GPT that trains on a laptop: byte-level vocabulary, 6.5 million parameters. */
const GPT_DEFAULTS: ModelOptions = {
  layers: 8,
  hidden: 256,
  heads: 8,
  feedForward: 0,
  sequence: 256,
  vocabulary: 256,
  tied: true,
  positions: 0,
  activation: "gelu-tanh",
  epsilon: 1e-5,
  initializerRange: 0.02,
};

const GPT2 = { vocabulary: 50257, sequence: 1024, tied: true };

/**
 * GPT-2: Radford et al. 2019, table 2, as published. `gpt-…`: the sizes that Galvatron ships, after
 * Brown et al. 2020, table 2.1.
 */
export const GPT_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "gpt2-small": { ...GPT2, layers: 12, hidden: 768, heads: 12 },
  "gpt2-medium": { ...GPT2, layers: 24, hidden: 1024, heads: 16 },
  "gpt2-large": { ...GPT2, layers: 36, hidden: 1280, heads: 20 },
  "gpt2-xl": { ...GPT2, layers: 48, hidden: 1600, heads: 25 },
  "gpt-0.3b": { ...GPT2, layers: 24, hidden: 1024, heads: 16 },
  "gpt-1.5b": { ...GPT2, layers: 48, hidden: 1600, heads: 32 },
  "gpt-2.7b": { ...GPT2, layers: 32, hidden: 2560, heads: 32, sequence: 2048 },
  "gpt-6.7b": { ...GPT2, layers: 32, hidden: 4096, heads: 32, sequence: 2048 },
};

/** A GPT-2 style decoder: pre-norm, learned positions, GELU, biases, final norm in the head. */
export function gptSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("gpt", given, GPT_DEFAULTS);
  const options: ModelOptions = { ...GPT_DEFAULTS, ...given };
  const layers = positive(options, "layers");
  const hidden = positive(options, "hidden");
  const heads = positive(options, "heads");
  const sequence = positive(options, "sequence");
  const vocabulary = positive(options, "vocabulary");
  const feedForward = options.feedForward === 0 ? 4 * hidden : positive(options, "feedForward");
  const positions = options.positions === 0 ? sequence : positive(options, "positions");
  const tied = flag(options, "tied");
  mustDivide("hidden", hidden, heads, "heads");
  if (positions < sequence) mustDivide("positions", positions, sequence, "sequence");
  // Causal attention: each query meets half of the keys on average.
  const kind = plainKind("decoder", { hidden, heads, feedForward, sequence }, sequence / 2);
  return {
    family: "gpt",
    name,
    sequence,
    vocabulary,
    kinds: { decoder: kind },
    layers: new Array<string>(layers).fill("decoder"),
    embedding: { parameters: (vocabulary + positions) * hidden },
    head: {
      parameters: vocabulary * hidden + 2 * hidden,
      forwardFlops: 2 * sequence * hidden * vocabulary,
      tied,
    },
    options: {
      positions,
      activation: oneOf(options, "activation", ["gelu-tanh", "gelu"]),
      epsilon: positiveReal(options, "epsilon"),
      initializerRange: positiveReal(options, "initializerRange"),
    },
  };
}
