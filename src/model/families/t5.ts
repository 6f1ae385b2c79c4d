import { flag, type ModelOptions, mustDivide, mustKnow, positive, positiveReal } from "../model-options.js";
import type { LayerKind, ModelSpec } from "../model-spec.js";

/** A T5 that trains on a laptop. `layers` counts those of one stack. */
const T5_DEFAULTS: ModelOptions = {
  layers: 4,
  hidden: 256,
  heads: 8,
  headWidth: 0,
  feedForward: 0,
  /** Tokens of the decoder. */
  sequence: 128,
  /** Tokens of the encoder; 0 is as many as the decoder's. */
  encoderSequence: 0,
  vocabulary: 384,
  tied: true,
  /** Relative positions: buckets, and the distance from which on all fall into the last. */
  buckets: 32,
  farthest: 128,
  epsilon: 1e-6,
};

const T5 = { vocabulary: 32128, sequence: 512, headWidth: 64 };

/** Raffel et al. 2020, section 3.7; the sizes that Galvatron ships. */
export const T5_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "t5-small": { ...T5, layers: 6, hidden: 512, heads: 8, feedForward: 2048 },
  "t5-base": { ...T5, layers: 12, hidden: 768, heads: 12, feedForward: 3072 },
  "t5-large": { ...T5, layers: 24, hidden: 1024, heads: 16, feedForward: 4096 },
  "t5-3b": { ...T5, layers: 24, hidden: 1024, heads: 32, feedForward: 16384, headWidth: 128 },
};

/** T5: encoder and decoder stacks, RMS norm, ReLU, no biases, relative positions shared by each stack. */
export function t5Spec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("t5", given, T5_DEFAULTS);
  const options: ModelOptions = { ...T5_DEFAULTS, ...given };
  const layers = positive(options, "layers");
  const hidden = positive(options, "hidden");
  const heads = positive(options, "heads");
  const feedForward = options.feedForward === 0 ? 4 * hidden : positive(options, "feedForward");
  const sequence = positive(options, "sequence");
  const encoderSequence = options.encoderSequence === 0 ? sequence : positive(options, "encoderSequence");
  const vocabulary = positive(options, "vocabulary");
  const buckets = positive(options, "buckets");
  mustDivide("buckets", buckets, 4, "the ranges near and far, before and after");
  if (options.headWidth === 0) mustDivide("hidden", hidden, heads, "heads");
  const headWidth = options.headWidth === 0 ? hidden / heads : positive(options, "headWidth");
  const inner = heads * headWidth;
  const attention = 4 * hidden * inner;
  const matrices = attention + 2 * hidden * feedForward;
  const kind = (
    kindName: string,
    length: number,
    parameters: number,
    forwardFlops: number,
  ): readonly [string, LayerKind] => [
    kindName,
    {
      name: kindName,
      hidden,
      heads,
      keyValueHeads: heads,
      feedForward,
      sequence: length,
      parameters,
      forwardFlops,
    },
  ];
  const encoderFlops = 2 * encoderSequence * matrices + 4 * encoderSequence ** 2 * inner;
  // Queries, output and feed-forward over the decoder's tokens, keys and values over the encoder's.
  const crossFlops = attention * (sequence + encoderSequence) + 4 * sequence * encoderSequence * inner;
  const decoderFlops = 2 * sequence * matrices + 2 * sequence ** 2 * inner + crossFlops;
  return {
    family: "t5",
    name,
    sequence,
    vocabulary,
    kinds: Object.fromEntries([
      ...(layers > 1 ? [kind("encoder", encoderSequence, matrices + 2 * hidden, encoderFlops)] : []),
      kind("encoderEnd", encoderSequence, matrices + 3 * hidden, encoderFlops),
      kind("decoder", sequence, matrices + attention + 3 * hidden, decoderFlops),
    ]),
    layers: [
      ...new Array<string>(layers - 1).fill("encoder"),
      "encoderEnd",
      ...new Array<string>(layers).fill("decoder"),
    ],
    embedding: { parameters: vocabulary * hidden + 2 * buckets * heads },
    head: {
      parameters: vocabulary * hidden + hidden,
      forwardFlops: 2 * sequence * hidden * vocabulary,
      tied: flag(options, "tied"),
    },
    options: {
      headWidth,
      encoderSequence,
      buckets,
      farthest: positive(options, "farthest"),
      epsilon: positiveReal(options, "epsilon"),
    },
  };
}
