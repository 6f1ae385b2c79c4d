import type { FamilyLayers } from "../graph/family-layers.js";
import type { Value } from "../graph/ir.js";
import type { LayerScope } from "../graph/layer-scope.js";
import { dropout } from "../graph/layers/dropout.js";
import { rmsNorm } from "../graph/layers/normalization.js";
import { positionsOf } from "../graph/layers/positions.js";
import {
  carriedTable,
  carriedWidth,
  carryTable,
  distanceBias,
  distanceBuckets,
} from "../graph/layers/relative-bias.js";
import {
  attentionSublayer,
  feedForwardSublayer,
  normal,
  type UnbiasedSizes,
} from "../graph/layers/unbiased-sublayers.js";
import { tokenTable, vocabularyLoss, vocabularyRows } from "../graph/layers/vocabulary.js";
import {
  flag,
  type ModelOptions,
  mustDivide,
  mustKnow,
  oneOf,
  positive,
  positiveReal,
} from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import { choice, ignored, number, numberOrDerived, only, rate, truth } from "./config-fields.js";
import type { Family } from "./family.js";
import { linearTensors, normTensors, sameTensor, type TensorView } from "./tensor-view.js";

/** A T5 that trains on a laptop. `layers` counts those of the encoder. */
const T5_DEFAULTS: ModelOptions = {
  layers: 4,
  /** Layers of the decoder; 0 is as many as the encoder's. */
  decoderLayers: 0,
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
  /** Of the feed-forward; T5 1.1 gates it. */
  activation: "relu",
  /** Relative positions: buckets, and the distance from which on all fall into the last. */
  buckets: 32,
  farthest: 128,
  epsilon: 1e-6,
};

const BASE = { vocabulary: 32128, sequence: 512, headWidth: 64 };

/** Raffel et al. 2020, section 3.7; the sizes that Galvatron ships. */
const T5_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "t5-small": { ...BASE, layers: 6, hidden: 512, heads: 8, feedForward: 2048 },
  "t5-base": { ...BASE, layers: 12, hidden: 768, heads: 12, feedForward: 3072 },
  "t5-large": { ...BASE, layers: 24, hidden: 1024, heads: 16, feedForward: 4096 },
  "t5-3b": { ...BASE, layers: 24, hidden: 1024, heads: 32, feedForward: 16384, headWidth: 128 },
};

/** T5: encoder and decoder stacks, RMS norm, ReLU, no biases, relative positions shared by each stack. */
function t5Spec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("t5", given, T5_DEFAULTS);
  const options: ModelOptions = { ...T5_DEFAULTS, ...given };
  const layers = positive(options, "layers");
  const decoderLayers = options.decoderLayers === 0 ? layers : positive(options, "decoderLayers");
  const activation = oneOf(options, "activation", ["relu", "gated-gelu-tanh"]);
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
  const matrices = attention + (activation === "relu" ? 2 : 3) * hidden * feedForward;
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
      ...new Array<string>(decoderLayers).fill("decoder"),
    ],
    embedding: { parameters: vocabulary * hidden + 2 * buckets * heads },
    head: {
      parameters: vocabulary * hidden + hidden,
      forwardFlops: 2 * sequence * hidden * vocabulary,
      tied: flag(options, "tied"),
    },
    options: {
      headWidth,
      activation,
      encoderSequence,
      buckets,
      farthest: positive(options, "farthest"),
      epsilon: positiveReal(options, "epsilon"),
    },
  };
}

/** What the layers hand on: both streams, and each stack's table of relative positions. */
const ENCODER = "encoder";
const ENCODER_BIAS = "encoderBias";
const DECODER = "decoder";
const DECODER_BIAS = "decoderBias";

interface Sizes extends UnbiasedSizes {
  readonly buckets: number;
  readonly farthest: number;
  readonly encoderSequence: number;
  readonly decoderSequence: number;
}

function sizesOf(model: ModelSpec): Sizes {
  const { hidden, heads } = model.kinds.decoder!;
  const option = (name: string): number => Number(model.options[name]);
  return {
    hidden,
    heads,
    headWidth: option("headWidth"),
    buckets: option("buckets"),
    farthest: option("farthest"),
    epsilon: option("epsilon"),
    gated: isGated(model),
    encoderSequence: option("encoderSequence"),
    decoderSequence: model.sequence,
  };
}

/** One table of words for both streams, and the tables of relative positions of both stacks. */
function embedding(scope: LayerScope, model: ModelSpec): void {
  const { hidden, heads, buckets, encoderSequence, decoderSequence } = sizesOf(model);
  const { samples } = scope.request;
  const encoderTokens = scope.data("tokens", "int64", [encoderSequence, samples]);
  const decoderTokens = scope.data("decoderTokens", "int64", [decoderSequence, samples]);
  const words = tokenTable(scope, model, hidden, normal(1));
  const table = (name: string): Value =>
    scope.parameter(`${name}.weight`, [buckets, heads], { init: normal(1 / hidden) });
  const stream = (tokens: Value, biasName: string): readonly [Value, Value] => {
    const sequence = tokens.shape[0]!;
    const places = positionsOf(scope, sequence);
    return [vocabularyRows(scope, words, tokens), carryTable(scope, table(biasName), sequence, places)];
  };
  const [encoder, encoderBias] = stream(encoderTokens, ENCODER_BIAS);
  const [decoder, decoderBias] = stream(decoderTokens, DECODER_BIAS);
  scope.borderOutput(ENCODER, dropout(scope, encoder));
  scope.borderOutput(ENCODER_BIAS, encoderBias);
  scope.borderOutput(DECODER, dropout(scope, decoder));
  scope.borderOutput(DECODER_BIAS, decoderBias);
}

function isGated(model: Pick<ModelSpec, "options">): boolean {
  return model.options.activation !== "relu";
}

function stackBias(scope: LayerScope, carried: Value, sizes: Sizes, sequence: number, both: boolean): Value {
  const table = carriedTable(scope, carried, [sizes.buckets, sizes.heads]);
  return distanceBias(scope, table, distanceBuckets(sequence, sizes.buckets, sizes.farthest, both), sequence);
}

/** Values that enter and leave alike have the same place; the inputs bear their own names. */
function carriedInput(scope: LayerScope, name: string, sizes: Sizes, sequence: number): Value {
  const width = carriedWidth(sizes.buckets * sizes.heads, sequence);
  return scope.borderInput(`${name}.input`, sequence, width);
}

function encoder(scope: LayerScope, sizes: Sizes, kind: LayerKind, isLast: boolean): void {
  const { hidden, encoderSequence, decoderSequence } = sizes;
  const x = scope.borderInput(`${ENCODER}.input`, encoderSequence, hidden);
  const carried = carriedInput(scope, ENCODER_BIAS, sizes, encoderSequence);
  const waiting = scope.borderInput(`${DECODER}.input`, decoderSequence, hidden);
  const waitingBias = carriedInput(scope, DECODER_BIAS, sizes, decoderSequence);
  const bias = stackBias(scope, carried, sizes, encoderSequence, true);
  const middle = attentionSublayer(scope, x, null, { name: "attention", sizes, causal: false, bias });
  const result = feedForwardSublayer(scope, middle, sizes, kind.feedForward);
  scope.borderOutput(
    ENCODER,
    isLast ? dropout(scope, rmsNorm(scope, "norm", result, sizes.epsilon)) : result,
  );
  if (!isLast) scope.borderOutput(ENCODER_BIAS, carried);
  scope.borderOutput(DECODER, waiting);
  scope.borderOutput(DECODER_BIAS, waitingBias);
}

function decoder(scope: LayerScope, sizes: Sizes, kind: LayerKind): void {
  const { hidden, encoderSequence, decoderSequence } = sizes;
  const memory = scope.borderInput(`${ENCODER}.input`, encoderSequence, hidden);
  const x = scope.borderInput(`${DECODER}.input`, decoderSequence, hidden);
  const carried = carriedInput(scope, DECODER_BIAS, sizes, decoderSequence);
  const bias = stackBias(scope, carried, sizes, decoderSequence, false);
  const own = attentionSublayer(scope, x, null, { name: "attention", sizes, causal: true, bias });
  const crossed = attentionSublayer(scope, own, memory, { name: "crossAttention", sizes, causal: false });
  scope.borderOutput(ENCODER, memory);
  scope.borderOutput(DECODER, feedForwardSublayer(scope, crossed, sizes, kind.feedForward));
  scope.borderOutput(DECODER_BIAS, carried);
}

function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const sizes = sizesOf(model);
  if (kind.name === "decoder") decoder(scope, sizes, kind);
  else encoder(scope, sizes, kind, kind.name === "encoderEnd");
}

/** Final norm of the decoder; with a shared table the logits are scaled by hidden^(−1/2). */
function head(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const sizes = sizesOf(model);
  const { hidden, decoderSequence } = sizes;
  scope.borderInput(`${ENCODER}.input`, sizes.encoderSequence, hidden);
  const x = scope.borderInput(`${DECODER}.input`, decoderSequence, hidden);
  carriedInput(scope, DECODER_BIAS, sizes, decoderSequence);
  const labels = scope.data("labels", "int64", [decoderSequence, scope.request.samples]);
  const normed = dropout(scope, rmsNorm(scope, "norm", x, sizes.epsilon));
  const { tied } = model.head;
  scope.loss(
    vocabularyLoss(scope, tied ? g.mul(normed, g.scalar(hidden ** -0.5, normed.dtype)) : normed, labels, {
      hidden,
      classes: model.vocabulary,
      name: "output",
      bias: false,
      init: normal(1),
      ...(tied ? { tiedTo: "token.weight" } : {}),
    }),
  );
}

/**
 * T5 (Raffel et al. 2020): encoder and decoder stacks with relative position bias. Every layer hands on both streams:
 * an encoder layer passes the decoder's embeddings by, a decoder layer passes the encoder's output on.
 */
const T5_LAYERS: FamilyLayers = { embedding, body, head };

function tensors(model: ModelSpec): readonly TensorView[] {
  const { hidden, heads, headWidth, buckets } = sizesOf(model);
  const { feedForward } = model.kinds.decoder!;
  const inner = heads * headWidth;
  const attentionTensors = (ours: string, theirs: string, norm: string): readonly TensorView[] => [
    ...normTensors(`${ours}.norm`, norm, hidden, false),
    ...["query", "key", "value"].flatMap((name) =>
      linearTensors(`${ours}.${name}`, `${theirs}.${name[0]}`, [inner, hidden], false),
    ),
    ...linearTensors(`${ours}.output`, `${theirs}.o`, [hidden, inner], false),
  ];
  const layer = (ours: string, block: string, crosses: boolean): readonly TensorView[] => {
    const last = `${block}.layer.${crosses ? 2 : 1}`;
    const wide = (name: string, theirs: string): readonly TensorView[] =>
      linearTensors(
        `${ours}.feedForward.${name}`,
        `${last}.DenseReluDense.${theirs}`,
        [feedForward, hidden],
        false,
      );
    const cross = `${block}.layer.1`;
    return [
      ...attentionTensors(
        `${ours}.attention`,
        `${block}.layer.0.SelfAttention`,
        `${block}.layer.0.layer_norm`,
      ),
      ...(crosses
        ? attentionTensors(`${ours}.crossAttention`, `${cross}.EncDecAttention`, `${cross}.layer_norm`)
        : []),
      ...normTensors(`${ours}.feedForward.norm`, `${last}.layer_norm`, hidden, false),
      ...(isGated(model) ? [...wide("gate", "wi_0"), ...wide("up", "wi_1")] : wide("up", "wi")),
      ...linearTensors(`${ours}.feedForward.down`, `${last}.DenseReluDense.wo`, [hidden, feedForward], false),
    ];
  };
  const encoders = model.layers.filter((kind) => kind !== "decoder").length;
  const bias = (stack: string): TensorView => {
    const table = `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`;
    return sameTensor(`embedding.${stack}Bias.weight`, table, [buckets, heads]);
  };
  const words = [model.vocabulary, hidden];
  return [
    sameTensor("embedding.token.weight", "shared.weight", words),
    bias("encoder"),
    bias("decoder"),
    ...model.layers.flatMap((kind, index) =>
      kind === "decoder"
        ? layer(`layers.${index}`, `decoder.block.${index - encoders}`, true)
        : layer(`layers.${index}`, `encoder.block.${index}`, false),
    ),
    ...normTensors(`layers.${encoders - 1}.norm`, "encoder.final_layer_norm", hidden, false),
    ...normTensors("head.norm", "decoder.final_layer_norm", hidden, false),
    ...(model.head.tied ? [] : [sameTensor("head.output.weight", "lm_head.weight", words)]),
  ];
}

function t5Options(model: ModelSpec): ModelOptions {
  const { hidden, heads, feedForward } = model.kinds.decoder!;
  const decoderLayers = model.layers.filter((kind) => kind === "decoder").length;
  return {
    layers: model.layers.length - decoderLayers,
    decoderLayers,
    hidden,
    heads,
    feedForward,
    sequence: model.sequence,
    vocabulary: model.vocabulary,
    tied: model.head.tied,
    ...model.options,
  };
}

/** T5 and T5 1.1: encoder and decoder, relative position bias, two layer kinds. */
export const T5: Family = {
  name: "t5",
  spec: t5Spec,
  presets: T5_PRESETS,
  small: { layers: 2, hidden: 32, heads: 4, sequence: 8, encoderSequence: 16, vocabulary: 61 },
  objective: "spanCorruption",
  layers: T5_LAYERS,
  huggingFace: {
    classes: { t5: "T5ForConditionalGeneration" },
    modelType: () => "t5",
    basePrefix: "",
    fields: () => ({
      vocab_size: number("vocabulary", 32128),
      d_model: number("hidden", 512),
      d_kv: number("headWidth", 64),
      d_ff: number("feedForward", 2048),
      num_layers: number("layers", 6),
      num_decoder_layers: numberOrDerived("decoderLayers"),
      num_heads: number("heads", 8),
      relative_attention_num_buckets: number("buckets", 32),
      relative_attention_max_distance: number("farthest", 128),
      layer_norm_epsilon: number("epsilon", 1e-6),
      feed_forward_proj: choice("activation", { relu: "relu", "gated-gelu": "gated-gelu-tanh" }, "relu"),
      // The published layers scale what a tied head reads, and nothing else.
      tie_word_embeddings: truth("tied", true),
      scale_decoder_outputs: { ...truth("tied", true), absent: undefined },
      // A strict reader takes no whole number for it, and 1.0 is its default.
      initializer_factor: { ...only(1), write: () => undefined },
      is_encoder_decoder: only(true),
      is_decoder: only(false),
      // One rate for hidden states and attention probabilities.
      dropout_rate: {
        ...rate("dropout", 0.1),
        unless: "dropout",
        read: (value, field) => {
          const both = rate("dropout", 0.1).read(value, field);
          return { ...both, attentionDropout: both.dropout! };
        },
      },
      ...ignored("dense_act_fn", "is_gated_act", "n_positions", "max_length", "num_beams"),
    }),
    fixed: () => ({ sequence: 512 }),
    options: t5Options,
    tensors,
  },
};
