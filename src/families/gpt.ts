import type { FamilyLayers } from "../graph/family-layers.js";
import type { Value } from "../graph/ir.js";
import type { Init } from "../graph/layer-graphs.js";
import type { LayerScope } from "../graph/layer-scope.js";
import { attention } from "../graph/layers/attention.js";
import { dropout } from "../graph/layers/dropout.js";
import { geluFeedForward } from "../graph/layers/feed-forward.js";
import { layerNorm } from "../graph/layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../graph/layers/parallel-linear.js";
import { positionsOf } from "../graph/layers/positions.js";
import { tokenEmbedding, vocabularyLoss } from "../graph/layers/vocabulary.js";
import { flag, type ModelOptions, mustDivide, mustKnow } from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import {
  choice,
  GELUS,
  ignored,
  number,
  numberOrDerived,
  only,
  positionsField,
  rate,
  truth,
} from "./config-fields.js";
import { type Family, plainOptions } from "./family.js";
import { blockOptions, plainKind, plainSizes, textSizes } from "./plain-kind.js";
import { normTensors, sameTensor, type TensorView, transposedTensors } from "./tensor-view.js";

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
const GPT_PRESETS: Readonly<Record<string, ModelOptions>> = {
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
function gptSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("gpt", given, GPT_DEFAULTS);
  const options: ModelOptions = { ...GPT_DEFAULTS, ...given };
  const { layers, hidden, heads, feedForward } = plainSizes(options);
  const { sequence, vocabulary, positions } = textSizes(options);
  const tied = flag(options, "tied");
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
      ...blockOptions(options),
    },
  };
}

const BORDER = "hidden";

/** GPT-2's initialisation (Radford et al. 2019): 0.02, and less for projections into the residual stream. */
function inits(model: ModelSpec): { readonly weight: Init; readonly residual: Init } {
  const standardDeviation = Number(model.options.initializerRange);
  return {
    weight: { kind: "normal", standardDeviation },
    residual: { kind: "normal", standardDeviation: standardDeviation / Math.sqrt(2 * model.layers.length) },
  };
}

function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = scope.data("tokens", "int64", [model.sequence, scope.request.samples]);
  const { weight } = inits(model);
  const words = tokenEmbedding(scope, tokens, model, hidden, weight);
  const table = scope.parameter("position.weight", [Number(model.options.positions), hidden], {
    init: weight,
  });
  const positions = positionsOf(scope, model.sequence);
  const rows = g.one("Embedding", [table, positions], { checked: false });
  scope.borderOutput(BORDER, dropout(scope, g.add(words, g.reshape(rows, [rows.shape[0]!, 1, hidden]))));
}

/** Pre-norm block: x + attention(norm(x)), then x + feedForward(norm(x)). */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads, feedForward } = kind;
  const { weight, residual } = inits(model);
  const epsilon = Number(model.options.epsilon);
  const x = scope.borderInput("input", kind.sequence, hidden);
  const square = { input: hidden, output: hidden, bias: true };

  const normed = enterParallel(scope, layerNorm(scope, "attention.norm", x, epsilon));
  const project = (name: string): Value =>
    columnLinear(scope, `attention.${name}`, normed, { ...square, init: weight });
  const context = attention(scope, project("query"), project("key"), project("value"), {
    heads,
    keyValueHeads: heads,
    headWidth: hidden / heads,
    causal: true,
    scale: 1 / Math.sqrt(hidden / heads),
  });
  const middle = g.addProduct(
    x,
    rowLinear(scope, "attention.output", context, { ...square, init: residual }),
  );

  const entered = enterParallel(scope, layerNorm(scope, "feedForward.norm", middle, epsilon));
  const down = geluFeedForward(scope, entered, {
    hidden,
    inner: feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: weight,
    down: residual,
  });
  scope.borderOutput(BORDER, g.addProduct(middle, down));
}

function head(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const labels = scope.data("labels", "int64", [model.sequence, scope.request.samples]);
  const normed = layerNorm(scope, "norm", x, Number(model.options.epsilon));
  scope.loss(
    vocabularyLoss(scope, normed, labels, {
      hidden,
      classes: model.vocabulary,
      name: "output",
      bias: false,
      init: inits(model).weight,
      ...(model.head.tied ? { tiedTo: "token.weight" } : {}),
    }),
  );
}

/** GPT-2 (Radford et al. 2019): pre-norm decoder, learned positions, GELU, biases everywhere. */
const GPT_LAYERS: FamilyLayers = { embedding, body, head };

function tensors(model: ModelSpec): readonly TensorView[] {
  const { hidden, feedForward } = model.kinds.decoder!;
  const layer = (index: number): readonly TensorView[] => {
    const [ours, theirs] = [`layers.${index}`, `transformer.h.${index}`];
    const square = [hidden, hidden] as const;
    return [
      ...normTensors(`${ours}.attention.norm`, `${theirs}.ln_1`, hidden, true),
      ...["query", "key", "value"].flatMap((name, part) =>
        transposedTensors(`${ours}.attention.${name}`, `${theirs}.attn.c_attn`, square, part, 3),
      ),
      ...transposedTensors(`${ours}.attention.output`, `${theirs}.attn.c_proj`, square),
      ...normTensors(`${ours}.feedForward.norm`, `${theirs}.ln_2`, hidden, true),
      ...transposedTensors(`${ours}.feedForward.up`, `${theirs}.mlp.c_fc`, [feedForward, hidden]),
      ...transposedTensors(`${ours}.feedForward.down`, `${theirs}.mlp.c_proj`, [hidden, feedForward]),
    ];
  };
  const words = [model.vocabulary, hidden];
  return [
    sameTensor("embedding.token.weight", "transformer.wte.weight", words),
    sameTensor("embedding.position.weight", "transformer.wpe.weight", [
      Number(model.options.positions),
      hidden,
    ]),
    ...model.layers.flatMap((_, index) => layer(index)),
    ...normTensors("head.norm", "transformer.ln_f", hidden, true),
    ...(model.head.tied ? [] : [sameTensor("head.output.weight", "lm_head.weight", words)]),
  ];
}

/** GPT-2: learned positions, pre-norm decoder, tied head. */
export const GPT: Family = {
  name: "gpt",
  spec: gptSpec,
  presets: GPT_PRESETS,
  small: { layers: 4, hidden: 32, heads: 4, sequence: 16, vocabulary: 61 },
  objective: "causal",
  layers: GPT_LAYERS,
  huggingFace: {
    classes: { gpt2: "GPT2LMHeadModel" },
    modelType: () => "gpt2",
    basePrefix: "transformer.",
    fields: () => ({
      vocab_size: number("vocabulary", 50257),
      n_positions: positionsField(1024),
      n_embd: number("hidden", 768),
      n_layer: number("layers", 12),
      n_head: number("heads", 12),
      n_inner: numberOrDerived("feedForward"),
      activation_function: choice("activation", GELUS, "gelu_new"),
      layer_norm_epsilon: number("epsilon", 1e-5),
      initializer_range: number("initializerRange", 0.02),
      tie_word_embeddings: truth("tied", true),
      scale_attn_weights: only(true),
      scale_attn_by_inverse_layer_idx: only(false),
      reorder_and_upcast_attn: only(false),
      add_cross_attention: only(false),
      resid_pdrop: rate("dropout", 0.1),
      embd_pdrop: rate("dropout", 0.1),
      attn_pdrop: rate("attentionDropout", 0.1),
      ...ignored("n_ctx", "summary_type", "summary_use_proj"),
      ...ignored("summary_activation", "summary_first_dropout", "summary_proj_to_labels"),
    }),
    options: plainOptions,
    tensors,
  },
};
