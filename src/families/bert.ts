import type { FamilyLayers } from "../graph/family-layers.js";
import type { Value } from "../graph/ir.js";
import type { LayerScope } from "../graph/layer-scope.js";
import { attention } from "../graph/layers/attention.js";
import { dropout } from "../graph/layers/dropout.js";
import { geluFeedForward } from "../graph/layers/feed-forward.js";
import { layerNorm } from "../graph/layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../graph/layers/parallel-linear.js";
import { positionsOf } from "../graph/layers/positions.js";
import { tokenEmbedding, vocabularyLoss } from "../graph/layers/vocabulary.js";
import { flag, type ModelOptions, mustDivide, mustKnow, positive } from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import { blockFields, dropoutFields, ignored, number, only, positionsField, truth } from "./config-fields.js";
import { type Family, plainOptions } from "./family.js";
import { blockOptions, initialNormal, plainKind, plainSizes, textSizes } from "./plain-kind.js";
import { linearTensors, normTensors, sameTensor, type TensorView } from "./tensor-view.js";

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

const BASE = { vocabulary: 30522, sequence: 512 };

/** Devlin et al. 2019, section 3; the huge ones are sizes that Galvatron ships. */
const BERT_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "bert-base": { ...BASE, layers: 12, hidden: 768, heads: 12 },
  "bert-large": { ...BASE, layers: 24, hidden: 1024, heads: 16 },
  "bert-huge-32": { ...BASE, layers: 32, hidden: 1280, heads: 16 },
  "bert-huge-48": { ...BASE, layers: 48, hidden: 1280, heads: 16 },
};

/** A BERT encoder: post-norm, learned positions, GELU, masked-language-model head. */
function bertSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("bert", given, BERT_DEFAULTS);
  const options: ModelOptions = { ...BERT_DEFAULTS, ...given };
  const { layers, hidden, heads, feedForward } = plainSizes(options);
  const { sequence, vocabulary, positions } = textSizes(options);
  const segments = positive(options, "segments");
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
      ...blockOptions(options),
    },
  };
}

const BORDER = "hidden";

/** Words, positions and segments, normed. All tokens lie in segment 0: sequences are packed. */
function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = scope.data("tokens", "int64", [model.sequence, scope.request.samples]);
  const words = tokenEmbedding(scope, tokens, model, hidden, initialNormal(model));
  const positions = scope.parameter("position.weight", [Number(model.options.positions), hidden], {
    init: initialNormal(model),
  });
  const segments = scope.parameter("segment.weight", [Number(model.options.segments), hidden], {
    init: initialNormal(model),
  });
  const rows = g.embedding(positions, positionsOf(scope, model.sequence), false);
  const segment = g.embedding(segments, g.constant([0], "int64", [1]), false);
  const places = g.add(rows, segment);
  const sum = g.add(words, g.reshape(places, [rows.shape[0]!, 1, hidden]));
  scope.borderOutput(BORDER, dropout(scope, layerNorm(scope, "norm", sum, Number(model.options.epsilon))));
}

/** Post-norm block: norm(x + attention(x)), then norm(x + feedForward(x)). */
function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const { g } = scope;
  const { hidden, heads } = kind;
  const epsilon = Number(model.options.epsilon);
  const square = { input: hidden, output: hidden, bias: true, init: initialNormal(model) };
  const x = scope.borderInput("input", kind.sequence, hidden);

  const whole = enterParallel(scope, x);
  const project = (name: string): Value => columnLinear(scope, `attention.${name}`, whole, square);
  const context = attention(scope, project("query"), project("key"), project("value"), {
    heads,
    keyValueHeads: heads,
    headWidth: hidden / heads,
    causal: false,
    scale: 1 / Math.sqrt(hidden / heads),
  });
  const attended = g.addProduct(x, rowLinear(scope, "attention.output", context, square));
  const middle = layerNorm(scope, "attention.norm", attended, epsilon);
  const fed = geluFeedForward(scope, enterParallel(scope, middle), {
    hidden,
    inner: kind.feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: initialNormal(model),
    down: initialNormal(model),
  });
  scope.borderOutput(BORDER, layerNorm(scope, "feedForward.norm", g.addProduct(middle, fed), epsilon));
}

/** Masked-language-model head: norm(gelu(dense(x))), the word table and a bias for each word. */
function head(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const labels = scope.data("labels", "int64", [model.sequence, scope.request.samples]);
  const weight = scope.parameter("transform.weight", [hidden, hidden], { init: initialNormal(model) });
  const bias = scope.parameter("transform.bias", [hidden], { init: { kind: "zeros" } });
  const transformed = g.gelu(
    g.linear(x, weight, bias),
    model.options.activation === "gelu" ? "none" : "tanh",
  );
  const normed = layerNorm(scope, "norm", transformed, Number(model.options.epsilon));
  scope.loss(
    vocabularyLoss(scope, normed, labels, {
      hidden,
      classes: model.vocabulary,
      name: "output",
      bias: true,
      init: initialNormal(model),
      ...(model.head.tied ? { tiedTo: "token.weight" } : {}),
    }),
  );
}

/** BERT (Devlin et al. 2019): post-norm encoder with a masked-language-model head. */
const BERT_LAYERS: FamilyLayers = { embedding, body, head };

function tensors(model: ModelSpec): readonly TensorView[] {
  const { hidden, feedForward } = model.kinds.encoder!;
  const layer = (index: number): readonly TensorView[] => {
    const [ours, theirs] = [`layers.${index}`, `bert.encoder.layer.${index}`];
    const square = [hidden, hidden] as const;
    return [
      ...["query", "key", "value"].flatMap((name) =>
        linearTensors(`${ours}.attention.${name}`, `${theirs}.attention.self.${name}`, square, true),
      ),
      ...linearTensors(`${ours}.attention.output`, `${theirs}.attention.output.dense`, square, true),
      ...normTensors(`${ours}.attention.norm`, `${theirs}.attention.output.LayerNorm`, hidden, true),
      ...linearTensors(`${ours}.feedForward.up`, `${theirs}.intermediate.dense`, [feedForward, hidden], true),
      ...linearTensors(`${ours}.feedForward.down`, `${theirs}.output.dense`, [hidden, feedForward], true),
      ...normTensors(`${ours}.feedForward.norm`, `${theirs}.output.LayerNorm`, hidden, true),
    ];
  };
  const table = (ours: string, theirs: string, rows: number): TensorView =>
    sameTensor(`embedding.${ours}.weight`, `bert.embeddings.${theirs}_embeddings.weight`, [rows, hidden]);
  const [head, words] = ["cls.predictions", [model.vocabulary, hidden]];
  return [
    table("token", "word", model.vocabulary),
    table("position", "position", Number(model.options.positions)),
    table("segment", "token_type", Number(model.options.segments)),
    ...normTensors("embedding.norm", "bert.embeddings.LayerNorm", hidden, true),
    ...model.layers.flatMap((_, index) => layer(index)),
    ...linearTensors("head.transform", `${head}.transform.dense`, [hidden, hidden], true),
    ...normTensors("head.norm", `${head}.transform.LayerNorm`, hidden, true),
    ...(model.head.tied ? [] : [sameTensor("head.output.weight", `${head}.decoder.weight`, words)]),
    sameTensor("head.output.bias", `${head}.bias`, [model.vocabulary]),
  ];
}

/** BERT: post-norm encoder, masked-language-model head. */
export const BERT: Family = {
  name: "bert",
  spec: bertSpec,
  presets: BERT_PRESETS,
  small: { layers: 4, hidden: 32, heads: 4, sequence: 16, vocabulary: 61 },
  objective: "masked",
  layers: BERT_LAYERS,
  huggingFace: {
    classes: { bert: "BertForMaskedLM" },
    modelType: () => "bert",
    basePrefix: "bert.",
    fields: () => ({
      vocab_size: number("vocabulary", 30522),
      max_position_embeddings: positionsField(512),
      ...blockFields({ hidden: 768, layers: 12, heads: 12, feedForward: 3072, epsilon: 1e-12 }),
      type_vocab_size: number("segments", 2),
      tie_word_embeddings: truth("tied", true),
      position_embedding_type: only("absolute"),
      is_decoder: only(false),
      add_cross_attention: only(false),
      ...dropoutFields(0.1),
      ...ignored("directionality", "pooler_fc_size"),
      ...ignored("pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type"),
    }),
    options: plainOptions,
    tensors,
  },
};
