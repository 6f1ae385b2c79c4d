import type { FamilyLayers } from "../graph/family-layers.js";
import type { Value } from "../graph/ir.js";
import type { LayerScope } from "../graph/layer-scope.js";
import { attention } from "../graph/layers/attention.js";
import { dropout } from "../graph/layers/dropout.js";
import { swiGluFeedForward } from "../graph/layers/feed-forward.js";
import { rmsNorm } from "../graph/layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../graph/layers/parallel-linear.js";
import { rotaryTables } from "../graph/layers/rotary-tables.js";
import { tokenEmbedding, vocabularyLoss } from "../graph/layers/vocabulary.js";
import {
  flag,
  type ModelOptions,
  mustDivide,
  mustKnow,
  positive,
  positiveReal,
} from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import {
  type ConfigField,
  ignored,
  number,
  numberOrDerived,
  only,
  positionsField,
  rate,
  rotaryFields,
  truth,
} from "./config-fields.js";
import { type Family, plainOptions } from "./family.js";
import { initialNormal, textSizes } from "./plain-kind.js";
import { linearTensors, normTensors, sameTensor, type TensorView } from "./tensor-view.js";

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
  /** The longest sequence that the model is made for; 0 is the one it trains on. Rotary positions have no table. */
  positions: 0,
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
const LLAMA_PRESETS: Readonly<Record<string, ModelOptions>> = {
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
function llamaSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("llama", given, LLAMA_DEFAULTS);
  const options: ModelOptions = { ...LLAMA_DEFAULTS, ...given };
  const layers = positive(options, "layers");
  const hidden = positive(options, "hidden");
  const heads = positive(options, "heads");
  const keyValueHeads = options.keyValueHeads === 0 ? heads : positive(options, "keyValueHeads");
  const { sequence, vocabulary, positions } = textSizes(options);
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
      positions,
      headWidth,
      queryKeyValueBias: bias,
      theta: positiveReal(options, "theta"),
      epsilon: positiveReal(options, "epsilon"),
      initializerRange: positiveReal(options, "initializerRange"),
    },
  };
}

const BORDER = "hidden";

function embedding(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = scope.data("tokens", "int64", [model.sequence, scope.request.samples]);
  scope.borderOutput(
    BORDER,
    dropout(scope, tokenEmbedding(scope, tokens, model, hidden, initialNormal(model))),
  );
}

/** Pre-norm block: x + attention(norm(x)), then x + feedForward(norm(x)). */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads, keyValueHeads } = kind;
  const headWidth = Number(model.options.headWidth);
  const epsilon = Number(model.options.epsilon);
  const bias = model.options.queryKeyValueBias === true;
  const x = scope.borderInput("input", kind.sequence, hidden);

  const normed = enterParallel(scope, rmsNorm(scope, "attention.norm", x, epsilon));
  const project = (name: string, count: number): Value =>
    columnLinear(scope, `attention.${name}`, normed, {
      input: hidden,
      output: count * headWidth,
      bias,
      init: initialNormal(model),
    });
  const { cosine, sine } = rotaryTables(scope, kind.sequence, headWidth, Number(model.options.theta));
  const [q, k, v] = [project("query", heads), project("key", keyValueHeads), project("value", keyValueHeads)];
  const context = attention(scope, q, k, v, {
    heads,
    keyValueHeads,
    headWidth,
    causal: true,
    scale: 1 / Math.sqrt(headWidth),
    rotate: (value) => g.rotary(value, cosine, sine),
  });
  const attended = rowLinear(scope, "attention.output", context, {
    input: heads * headWidth,
    output: hidden,
    bias: false,
    init: initialNormal(model),
  });
  const middle = g.addProduct(x, attended);
  const entered = enterParallel(scope, rmsNorm(scope, "feedForward.norm", middle, epsilon));
  const fed = swiGluFeedForward(scope, entered, {
    hidden,
    inner: kind.feedForward,
    init: initialNormal(model),
  });
  scope.borderOutput(BORDER, g.addProduct(middle, fed));
}

function head(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const labels = scope.data("labels", "int64", [model.sequence, scope.request.samples]);
  const normed = rmsNorm(scope, "norm", x, Number(model.options.epsilon));
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

/** LLaMA (Touvron et al. 2023) and Qwen2 (Yang et al. 2024): RMS norm, rotary positions, SwiGLU, grouped heads. */
const LLAMA_LAYERS: FamilyLayers = { embedding, body, head };

function tensors(model: ModelSpec): readonly TensorView[] {
  const { hidden, heads, keyValueHeads, feedForward } = model.kinds.decoder!;
  const headWidth = Number(model.options.headWidth);
  const bias = model.options.queryKeyValueBias === true;
  const [queries, keys] = [heads * headWidth, keyValueHeads * headWidth];
  const layer = (index: number): readonly TensorView[] => {
    const [ours, theirs] = [`layers.${index}`, `model.layers.${index}`];
    const project = (name: string, letter: string, outputs: number): readonly TensorView[] =>
      linearTensors(
        `${ours}.attention.${name}`,
        `${theirs}.self_attn.${letter}_proj`,
        [outputs, hidden],
        bias,
      );
    const wide = (name: string): readonly TensorView[] =>
      linearTensors(
        `${ours}.feedForward.${name}`,
        `${theirs}.mlp.${name}_proj`,
        [feedForward, hidden],
        false,
      );
    return [
      ...normTensors(`${ours}.attention.norm`, `${theirs}.input_layernorm`, hidden, false),
      ...project("query", "q", queries),
      ...project("key", "k", keys),
      ...project("value", "v", keys),
      sameTensor(`${ours}.attention.output.weight`, `${theirs}.self_attn.o_proj.weight`, [hidden, queries]),
      ...normTensors(`${ours}.feedForward.norm`, `${theirs}.post_attention_layernorm`, hidden, false),
      ...wide("gate"),
      ...wide("up"),
      sameTensor(`${ours}.feedForward.down.weight`, `${theirs}.mlp.down_proj.weight`, [hidden, feedForward]),
    ];
  };
  const words = [model.vocabulary, hidden];
  return [
    sameTensor("embedding.token.weight", "model.embed_tokens.weight", words),
    ...model.layers.flatMap((_, index) => layer(index)),
    ...normTensors("head.norm", "model.norm", hidden, false),
    ...(model.head.tied ? [] : [sameTensor("head.output.weight", "lm_head.weight", words)]),
  ];
}

const LLAMA_FIELDS: Readonly<Record<string, ConfigField>> = {
  hidden_size: number("hidden", 4096),
  num_hidden_layers: number("layers", 32),
  num_attention_heads: number("heads", 32),
  head_dim: numberOrDerived("headWidth"),
  hidden_act: only("silu"),
  initializer_range: number("initializerRange", 0.02),
  rms_norm_eps: number("epsilon", 1e-6),
  tie_word_embeddings: truth("tied", false),
  ...rotaryFields(10000),
  attention_dropout: rate("attentionDropout", 0),
  ...ignored("pretraining_tp"),
};

/** Qwen2 is a LLaMA with biases on query, key and value. */
function fields(modelType: string): Readonly<Record<string, ConfigField>> {
  if (modelType === "llama")
    return {
      ...LLAMA_FIELDS,
      vocab_size: number("vocabulary", 32000),
      intermediate_size: number("feedForward", 11008),
      num_key_value_heads: numberOrDerived("keyValueHeads"),
      max_position_embeddings: positionsField(2048),
      attention_bias: only(false),
      mlp_bias: only(false),
    };
  return {
    ...LLAMA_FIELDS,
    vocab_size: number("vocabulary", 151936),
    intermediate_size: number("feedForward", 22016),
    num_key_value_heads: { ...numberOrDerived("keyValueHeads"), absent: 32 },
    max_position_embeddings: positionsField(32768),
    use_sliding_window: only(false),
    layer_types: FULL_ATTENTION,
    ...ignored("sliding_window", "max_window_layers"),
  };
}

const FULL_ATTENTION: ConfigField = {
  ...only(null),
  read: (value, field) => {
    const list = Array.isArray(value) ? value : [value];
    return list.every((kind) => kind === "full_attention") ? {} : only(null).read(value, field);
  },
  write: () => undefined,
};

/** LLaMA and Qwen2: RMS norm, rotary positions, SwiGLU, grouped heads. */
export const LLAMA: Family = {
  name: "llama",
  spec: llamaSpec,
  presets: LLAMA_PRESETS,
  small: { layers: 4, hidden: 32, heads: 8, keyValueHeads: 4, sequence: 16, vocabulary: 61 },
  objective: "causal",
  layers: LLAMA_LAYERS,
  huggingFace: {
    classes: { llama: "LlamaForCausalLM", qwen2: "Qwen2ForCausalLM" },
    modelType: (model) => (model.options.queryKeyValueBias === true ? "qwen2" : "llama"),
    basePrefix: "model.",
    fields,
    fixed: (modelType) => ({ queryKeyValueBias: modelType === "qwen2" }),
    options: (model) => ({ ...plainOptions(model), keyValueHeads: model.kinds.decoder!.keyValueHeads }),
    tensors,
  },
};
