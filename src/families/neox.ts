import type { FamilyLayers } from "../graph/family-layers.js";
import type { Value } from "../graph/ir.js";
import type { LayerScope } from "../graph/layer-scope.js";
import { attention } from "../graph/layers/attention.js";
import { dropout } from "../graph/layers/dropout.js";
import { geluFeedForward } from "../graph/layers/feed-forward.js";
import { layerNorm } from "../graph/layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../graph/layers/parallel-linear.js";
import { rotaryTables } from "../graph/layers/rotary-tables.js";
import { tokenEmbedding, vocabularyLoss } from "../graph/layers/vocabulary.js";
import { flag, type ModelOptions, mustDivide, mustKnow, positiveReal } from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import { blockFields, number, only, positionsField, rate, rotaryFields, truth } from "./config-fields.js";
import { type Family, plainOptions } from "./family.js";
import { blockOptions, initialNormal, plainKind, plainSizes, textSizes } from "./plain-kind.js";
import {
  interleavedTensors,
  linearTensors,
  normTensors,
  sameTensor,
  type TensorView,
} from "./tensor-view.js";

/** A GPT-NeoX that trains on a laptop. */
const DEFAULTS: ModelOptions = {
  layers: 8,
  hidden: 256,
  heads: 8,
  feedForward: 0,
  sequence: 256,
  /** The longest sequence that the model is made for; 0 is the one it trains on. */
  positions: 0,
  vocabulary: 256,
  tied: false,
  /** Attention and feed-forward read the same input, and both are added to it. */
  parallel: true,
  /** Share of each head's width that positions turn. */
  rotaryShare: 0.25,
  theta: 10000,
  activation: "gelu",
  epsilon: 1e-5,
  initializerRange: 0.02,
};

const PYTHIA = { vocabulary: 50304, sequence: 2048 };

/** Black et al. 2022, section 2; Biderman et al. 2023, table 1, with the vocabularies of the published models. */
const PRESETS: Readonly<Record<string, ModelOptions>> = {
  "gpt-neox-20b": { layers: 44, hidden: 6144, heads: 64, vocabulary: 50432, sequence: 2048 },
  "pythia-160m": { ...PYTHIA, layers: 12, hidden: 768, heads: 12 },
  "pythia-1.4b": { ...PYTHIA, layers: 24, hidden: 2048, heads: 16 },
};

function spec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("neox", given, DEFAULTS);
  const options: ModelOptions = { ...DEFAULTS, ...given };
  const { layers, hidden, heads, feedForward } = plainSizes(options);
  const { sequence, vocabulary, positions } = textSizes(options);
  const rotaryShare = positiveReal(options, "rotaryShare");
  const rotaryWidth = Math.trunc((hidden / heads) * rotaryShare);
  mustDivide("width of a head that positions turn", rotaryWidth, 2, "a pair");
  // Causal attention: each query meets half of the keys on average.
  const kind = plainKind("decoder", { hidden, heads, feedForward, sequence }, sequence / 2);
  return {
    family: "neox",
    name,
    sequence,
    vocabulary,
    kinds: { decoder: kind },
    layers: new Array<string>(layers).fill("decoder"),
    embedding: { parameters: vocabulary * hidden },
    head: {
      parameters: vocabulary * hidden + 2 * hidden,
      forwardFlops: 2 * sequence * hidden * vocabulary,
      tied: flag(options, "tied"),
    },
    options: {
      positions,
      parallel: flag(options, "parallel"),
      rotaryShare,
      theta: positiveReal(options, "theta"),
      ...blockOptions(options),
    },
  };
}

function embedding(scope: LayerScope, model: ModelSpec): void {
  const { hidden } = model.kinds.decoder!;
  const tokens = scope.data("tokens", "int64", [model.sequence, scope.request.samples]);
  scope.borderOutput(
    "hidden",
    dropout(scope, tokenEmbedding(scope, tokens, model, hidden, initialNormal(model))),
  );
}

/** Turns the first part of every head by position and leaves the rest. `[S, b, h, d]` */
function partialRotary(scope: LayerScope, model: ModelSpec, kind: LayerKind): (x: Value) => Value {
  const { g } = scope;
  const width = kind.hidden / kind.heads;
  const turned = Math.trunc(width * Number(model.options.rotaryShare));
  const { cosine, sine } = rotaryTables(scope, kind.sequence, turned, Number(model.options.theta));
  return (x) => {
    const first = g.rotary(g.slice(x, 3, 0, turned), cosine, sine);
    return turned === width ? first : g.concat([first, g.slice(x, 3, turned, width)], 3);
  };
}

/** x + attention(norm(x)) + feedForward(norm(x)), or one after the other. */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads } = kind;
  const epsilon = Number(model.options.epsilon);
  const square = { input: hidden, output: hidden, bias: true, init: initialNormal(model) };
  const x = scope.borderInput("input", kind.sequence, hidden);

  const normed = enterParallel(scope, layerNorm(scope, "attention.norm", x, epsilon));
  const project = (name: string): Value => columnLinear(scope, `attention.${name}`, normed, square);
  const context = attention(scope, project("query"), project("key"), project("value"), {
    heads,
    keyValueHeads: heads,
    headWidth: hidden / heads,
    causal: true,
    scale: 1 / Math.sqrt(hidden / heads),
    rotate: partialRotary(scope, model, kind),
  });
  const middle = g.add(x, rowLinear(scope, "attention.output", context, square));

  const source = model.options.parallel === true ? x : middle;
  const entered = enterParallel(scope, layerNorm(scope, "feedForward.norm", source, epsilon));
  const fed = geluFeedForward(scope, entered, {
    hidden,
    inner: kind.feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: initialNormal(model),
    down: initialNormal(model),
  });
  scope.borderOutput("hidden", g.add(middle, fed));
}

function head(scope: LayerScope, model: ModelSpec): void {
  const { hidden } = model.kinds.decoder!;
  const x = scope.borderInput("input", model.sequence, hidden);
  const labels = scope.data("labels", "int64", [model.sequence, scope.request.samples]);
  const normed = layerNorm(scope, "norm", x, Number(model.options.epsilon));
  scope.loss(
    vocabularyLoss(scope, normed, labels, {
      hidden,
      classes: model.vocabulary,
      name: "output",
      bias: false,
      init: initialNormal(model),
      ...(model.head.tied ? { tiedTo: "token.weight" } : {}),
    }),
  );
}

const LAYERS: FamilyLayers = { embedding, body, head };

function tensors(model: ModelSpec): readonly TensorView[] {
  const { hidden, heads, feedForward } = model.kinds.decoder!;
  const sizes = { heads, headWidth: hidden / heads, inputs: hidden };
  const layer = (index: number): readonly TensorView[] => {
    const [ours, theirs] = [`layers.${index}`, `gpt_neox.layers.${index}`];
    const fused = `${theirs}.attention.query_key_value`;
    return [
      ...normTensors(`${ours}.attention.norm`, `${theirs}.input_layernorm`, hidden, true),
      ...["query", "key", "value"].flatMap((name, part) =>
        interleavedTensors(`${ours}.attention.${name}`, fused, sizes, part, 3),
      ),
      ...linearTensors(`${ours}.attention.output`, `${theirs}.attention.dense`, [hidden, hidden], true),
      ...normTensors(`${ours}.feedForward.norm`, `${theirs}.post_attention_layernorm`, hidden, true),
      ...linearTensors(`${ours}.feedForward.up`, `${theirs}.mlp.dense_h_to_4h`, [feedForward, hidden], true),
      ...linearTensors(
        `${ours}.feedForward.down`,
        `${theirs}.mlp.dense_4h_to_h`,
        [hidden, feedForward],
        true,
      ),
    ];
  };
  const words = [model.vocabulary, hidden];
  return [
    sameTensor("embedding.token.weight", "gpt_neox.embed_in.weight", words),
    ...model.layers.flatMap((_, index) => layer(index)),
    ...normTensors("head.norm", "gpt_neox.final_layer_norm", hidden, true),
    ...(model.head.tied ? [] : [sameTensor("head.output.weight", "embed_out.weight", words)]),
  ];
}

/** GPT-NeoX and Pythia: parallel residual, positions that turn a part of each head. */
export const NEOX: Family = {
  name: "neox",
  spec,
  presets: PRESETS,
  small: { layers: 4, hidden: 32, heads: 4, rotaryShare: 0.5, sequence: 16, vocabulary: 61 },
  objective: "causal",
  layers: LAYERS,
  huggingFace: {
    classes: { gpt_neox: "GPTNeoXForCausalLM" },
    modelType: () => "gpt_neox",
    basePrefix: "gpt_neox.",
    fields: () => ({
      vocab_size: number("vocabulary", 50432),
      ...blockFields({ hidden: 6144, layers: 44, heads: 64, feedForward: 24576, epsilon: 1e-5 }),
      max_position_embeddings: positionsField(2048),
      tie_word_embeddings: truth("tied", false),
      use_parallel_residual: truth("parallel", true),
      attention_bias: only(true),
      is_decoder: only(false, false, [true]),
      ...rotaryFields(10000, 0.25),
      attention_dropout: rate("attentionDropout", 0),
      hidden_dropout: rate("dropout", 0),
    }),
    options: plainOptions,
    tensors,
  },
};
