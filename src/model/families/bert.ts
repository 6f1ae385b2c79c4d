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

/** A BERT that trains on a laptop; the last of its 257 tokens is the mask. */
const BERT_DEFAULTS: ModelOptions = {
  layers: 8,
  hidden: 256,
  heads: 8,
  feedForward: 0,
  sequence: 256,
  vocabulary: 257,
  tied: true,
  positions: 0,
  segments: 2,
  activation: "gelu",
  epsilon: 1e-12,
  initializerRange: 0.02,
};

const BERT = { vocabulary: 30522, sequence: 512 };

/** Devlin et al. 2019, section 3; the huge ones are sizes that Galvatron ships. */
export const BERT_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "bert-base": { ...BERT, layers: 12, hidden: 768, heads: 12 },
  "bert-large": { ...BERT, layers: 24, hidden: 1024, heads: 16 },
  "bert-huge-32": { ...BERT, layers: 32, hidden: 1280, heads: 16 },
  "bert-huge-48": { ...BERT, layers: 48, hidden: 1280, heads: 16 },
};

/** A BERT encoder: post-norm, learned positions, GELU, masked-language-model head. */
export function bertSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("bert", given, BERT_DEFAULTS);
  const options: ModelOptions = { ...BERT_DEFAULTS, ...given };
  const layers = positive(options, "layers");
  const hidden = positive(options, "hidden");
  const heads = positive(options, "heads");
  const sequence = positive(options, "sequence");
  const vocabulary = positive(options, "vocabulary");
  const feedForward = options.feedForward === 0 ? 4 * hidden : positive(options, "feedForward");
  const positions = options.positions === 0 ? sequence : positive(options, "positions");
  const segments = positive(options, "segments");
  mustDivide("hidden", hidden, heads, "heads");
  if (positions < sequence) mustDivide("positions", positions, sequence, "sequence");
  return {
    family: "bert",
    name,
    sequence,
    vocabulary,
    kinds: { encoder: plainKind("encoder", { hidden, heads, feedForward, sequence }, sequence) },
    layers: new Array<string>(layers).fill("encoder"),
    embedding: { parameters: (vocabulary + positions + segments) * hidden + 2 * hidden },
    head: {
      // Dense and norm before the table, and a bias for each word.
      parameters: hidden * (hidden + 1) + 2 * hidden + vocabulary * (hidden + 1),
      forwardFlops: 2 * sequence * hidden * (hidden + vocabulary),
      tied: flag(options, "tied"),
    },
    options: {
      positions,
      segments,
      activation: oneOf(options, "activation", ["gelu", "gelu-tanh"]),
      epsilon: positiveReal(options, "epsilon"),
      initializerRange: positiveReal(options, "initializerRange"),
    },
  };
}
