import type { LayerKind, ModelSpec } from "../../model/model-spec.js";
import type { Value } from "../ir.js";
import type { Init } from "../layer-graphs.js";
import type { LayerScope } from "../layer-scope.js";
import { attention } from "../layers/attention.js";
import { rmsNorm } from "../layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../layers/parallel-linear.js";
import {
  carriedTable,
  carriedWidth,
  carryTable,
  distanceBias,
  distanceBuckets,
} from "../layers/relative-bias.js";
import { positionsOf, tokenTable, vocabularyLoss, vocabularyRows } from "../layers/vocabulary.js";
import type { FamilyLayers } from "./family-layers.js";

/** What the layers hand on: both streams, and each stack's table of relative positions. */
const ENCODER = "encoder";
const ENCODER_BIAS = "encoderBias";
const DECODER = "decoder";
const DECODER_BIAS = "decoderBias";

interface Sizes {
  readonly hidden: number;
  readonly heads: number;
  readonly headWidth: number;
  readonly buckets: number;
  readonly farthest: number;
  readonly epsilon: number;
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
    encoderSequence: option("encoderSequence"),
    decoderSequence: model.sequence,
  };
}

function normal(variance: number): Init {
  return { kind: "normal", standardDeviation: Math.sqrt(variance) };
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
  scope.borderOutput(ENCODER, encoder);
  scope.borderOutput(ENCODER_BIAS, encoderBias);
  scope.borderOutput(DECODER, decoder);
  scope.borderOutput(DECODER_BIAS, decoderBias);
}

interface Sublayer {
  readonly name: string;
  readonly sizes: Sizes;
  readonly causal: boolean;
  readonly bias?: Value;
}

/** x + output(attention(norm(x), memory)); unscaled scores. Without a memory, the normed x attends to itself. */
function attentionSublayer(scope: LayerScope, x: Value, memory: Value | null, shape: Sublayer): Value {
  const { name, sizes } = shape;
  const { hidden, heads, headWidth } = sizes;
  const inner = heads * headWidth;
  const normed = enterParallel(scope, rmsNorm(scope, `${name}.norm`, x, sizes.epsilon));
  const source = memory ? enterParallel(scope, memory) : normed;
  const project = (part: string, from: Value, variance: number): Value =>
    columnLinear(scope, `${name}.${part}`, from, {
      input: hidden,
      output: inner,
      bias: false,
      init: normal(variance),
    });
  const context = attention(
    scope,
    project("query", normed, 1 / (hidden * headWidth)),
    project("key", source, 1 / hidden),
    project("value", source, 1 / hidden),
    {
      heads,
      keyValueHeads: heads,
      headWidth,
      causal: shape.causal,
      scale: 1,
      ...(shape.bias ? { bias: shape.bias } : {}),
    },
  );
  const output = rowLinear(scope, `${name}.output`, context, {
    input: inner,
    output: hidden,
    bias: false,
    init: normal(1 / inner),
  });
  return scope.g.addProduct(x, output);
}

function feedForwardSublayer(scope: LayerScope, x: Value, sizes: Sizes, inner: number): Value {
  const { g } = scope;
  const { hidden } = sizes;
  const entered = enterParallel(scope, rmsNorm(scope, "feedForward.norm", x, sizes.epsilon));
  const up = columnLinear(scope, "feedForward.up", entered, {
    input: hidden,
    output: inner,
    bias: false,
    init: normal(1 / hidden),
  });
  const down = rowLinear(scope, "feedForward.down", g.relu(up), {
    input: inner,
    output: hidden,
    bias: false,
    init: normal(1 / inner),
  });
  return g.addProduct(x, down);
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
  scope.borderOutput(ENCODER, isLast ? rmsNorm(scope, "norm", result, sizes.epsilon) : result);
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
  const normed = rmsNorm(scope, "norm", x, sizes.epsilon);
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
export const T5_LAYERS: FamilyLayers = { embedding, body, head };
