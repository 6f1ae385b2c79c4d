import type { FamilyLayers } from "../graph/family-layers.js";
import type { Value } from "../graph/ir.js";
import type { LayerScope } from "../graph/layer-scope.js";
import { attention } from "../graph/layers/attention.js";
import { classifierLoss } from "../graph/layers/classifier.js";
import { dropout } from "../graph/layers/dropout.js";
import { geluFeedForward } from "../graph/layers/feed-forward.js";
import { layerNorm } from "../graph/layers/normalization.js";
import { columnLinear, enterParallel, rowLinear } from "../graph/layers/parallel-linear.js";
import { positionsOf } from "../graph/layers/positions.js";
import { type ModelOptions, mustDivide, mustKnow, positive } from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import { blockFields, dropoutFields, ignored, imageFields } from "./config-fields.js";
import type { Family } from "./family.js";
import { blockOptions, initialNormal, plainKind, plainSizes } from "./plain-kind.js";
import {
  linearTensors,
  normTensors,
  patchTensors,
  sameTensor,
  type TensorView,
  visionBlockTensors,
} from "./tensor-view.js";

/** A ViT for small grey images (28 × 28 pixels, ten classes) that trains on a laptop. */
const VIT_DEFAULTS: ModelOptions = {
  layers: 4,
  hidden: 64,
  heads: 4,
  feedForward: 0,
  image: 28,
  patch: 4,
  channels: 1,
  classes: 10,
  /** The sequence is padded to a multiple of this, so that tensor groups can cut it. */
  padTo: 8,
  activation: "gelu",
  epsilon: 1e-12,
  initializerRange: 0.02,
};

const IMAGENET = { image: 224, patch: 16, channels: 3, classes: 1000 };

/** Dosovitskiy et al. 2021, table 1; huge (with patches of 16) and xhuge are sizes that Galvatron ships. */
const VIT_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "vit-base": { ...IMAGENET, layers: 12, hidden: 768, heads: 12 },
  "vit-large": { ...IMAGENET, layers: 24, hidden: 1024, heads: 16 },
  "vit-huge": { ...IMAGENET, layers: 32, hidden: 1280, heads: 16 },
  "vit-xhuge": { ...IMAGENET, layers: 128, hidden: 2560, heads: 32 },
};

/** A ViT: class token and patches with learned positions, pre-norm encoder, classifier. */
function vitSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("vit", given, VIT_DEFAULTS);
  const options: ModelOptions = { ...VIT_DEFAULTS, ...given };
  const { layers, hidden, heads, feedForward } = plainSizes(options);
  const image = positive(options, "image");
  const patch = positive(options, "patch");
  const channels = positive(options, "channels");
  const classes = positive(options, "classes");
  const padTo = positive(options, "padTo");
  mustDivide("image", image, patch, "patch");
  const patches = (image / patch) ** 2;
  const tokens = patches + 1;
  const sequence = padTo * Math.ceil(tokens / padTo);
  const width = channels * patch * patch;
  return {
    family: "vit",
    name,
    sequence,
    vocabulary: classes,
    kinds: { encoder: plainKind("encoder", { hidden, heads, feedForward, sequence }, tokens) },
    layers: new Array<string>(layers).fill("encoder"),
    // Patches with bias, class token, positions.
    embedding: { parameters: hidden * (width + 1) + hidden + tokens * hidden },
    head: {
      parameters: 2 * hidden + classes * (hidden + 1),
      forwardFlops: 2 * hidden * classes,
      tied: false,
    },
    options: {
      image,
      patch,
      channels,
      tokens,
      ...blockOptions(options),
    },
  };
}

const BORDER = "hidden";

/**
 * Data "pixels" `[patches, b, channels · patch²]`, a patch's values in the order channel, row, column. Row 0 of the
 * sequence is the class token, the patches follow, and the rows beyond them pad the sequence so that it divides:
 * nobody attends to them, so they change nothing and get no gradient.
 */
function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const hidden = model.kinds[model.layers[0]!]!.hidden;
  const tokens = Number(model.options.tokens);
  const width = Number(model.options.channels) * Number(model.options.patch) ** 2;
  const pixels = scope.data("pixels", "float32", [tokens - 1, scope.request.samples, width]);
  const weight = scope.parameter("patch.weight", [hidden, width], { init: initialNormal(model) });
  const bias = scope.parameter("patch.bias", [hidden], { init: { kind: "zeros" } });
  const classToken = scope.parameter("class.weight", [hidden], { decay: true, init: initialNormal(model) });
  const table = scope.parameter("position.weight", [tokens, hidden], { init: initialNormal(model) });

  const places = positionsOf(scope, model.sequence);
  const column = g.reshape(places, [places.shape[0]!, 1, 1]);
  const [zero, one, count] = [0, 1, tokens].map((n) => g.scalar(n, "int64")) as [Value, Value, Value];
  const isPatch = g.and(g.greaterOrEqual(column, one), g.less(column, count));
  const source = g.where(g.reshape(isPatch, places.shape), g.sub(places, one), zero);
  const patches = g.linear(g.cast(g.gather(pixels, source), scope.dtype), weight, bias);
  const blank = g.scalar(0, scope.dtype);
  const first = g.where(g.equal(column, zero), classToken, blank);
  const content = g.add(g.where(isPatch, patches, blank), first);
  const rows = g.embedding(table, places, true);
  scope.borderOutput(BORDER, dropout(scope, g.add(content, g.reshape(rows, [rows.shape[0]!, 1, hidden]))));
}

/** Pre-norm encoder block. */
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
    causal: false,
    scale: 1 / Math.sqrt(hidden / heads),
    keys: Number(model.options.tokens),
  });
  const middle = g.addProduct(x, rowLinear(scope, "attention.output", context, square));
  const entered = enterParallel(scope, layerNorm(scope, "feedForward.norm", middle, epsilon));
  const fed = geluFeedForward(scope, entered, {
    hidden,
    inner: kind.feedForward,
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    up: initialNormal(model),
    down: initialNormal(model),
  });
  scope.borderOutput(BORDER, g.addProduct(middle, fed));
}

/** Class of the image from the class token, which the first rank of a tensor group holds. */
function head(scope: LayerScope, model: ModelSpec): void {
  const hidden = model.kinds[model.layers[model.layers.length - 1]!]!.hidden;
  const x = scope.borderInput("input", model.sequence, hidden);
  const normed = layerNorm(scope, "norm", scope.g.slice(x, 0, 0, 1), Number(model.options.epsilon));
  classifierLoss(scope, normed, { hidden, classes: model.vocabulary, init: initialNormal(model) });
}

/** ViT (Dosovitskiy et al. 2021): pre-norm encoder over patches and a class token. */
const VIT_LAYERS: FamilyLayers = { embedding, body, head };

function tensors(model: ModelSpec): readonly TensorView[] {
  const kind = model.kinds.encoder!;
  const { hidden } = kind;
  const [patch, channels, tokens] = ["patch", "channels", "tokens"].map((name) =>
    Number(model.options[name]),
  ) as [number, number, number];
  const [first, filters] = ["vit.embeddings", "vit.embeddings.patch_embeddings.projection"];
  return [
    sameTensor("embedding.class.weight", `${first}.cls_token`, [1, 1, hidden], [hidden]),
    sameTensor(
      "embedding.position.weight",
      `${first}.position_embeddings`,
      [1, tokens, hidden],
      [tokens, hidden],
    ),
    ...patchTensors(filters, hidden, channels, patch),
    ...model.layers.flatMap((_, index) =>
      visionBlockTensors(`layers.${index}`, `vit.encoder.layer.${index}`, "attention.attention", kind),
    ),
    ...normTensors("head.norm", "vit.layernorm", hidden, true),
    ...linearTensors("head.output", "classifier", [model.vocabulary, hidden], true),
  ];
}

/** ViT: class token and patches, pre-norm encoder, classifier. */
export const VIT: Family = {
  name: "vit",
  spec: vitSpec,
  presets: VIT_PRESETS,
  small: { layers: 4, hidden: 32, heads: 4, image: 16, patch: 4 },
  objective: "classification",
  layers: VIT_LAYERS,
  huggingFace: {
    classes: { vit: "ViTForImageClassification" },
    modelType: () => "vit",
    basePrefix: "vit.",
    fields: () => ({
      ...imageFields(16),
      ...blockFields({ hidden: 768, layers: 12, heads: 12, feedForward: 3072, epsilon: 1e-12 }),
      ...dropoutFields(0),
      ...ignored("pooler_act", "pooler_output_size"),
    }),
    options: (model) => {
      const { tokens: _, ...options } = model.options;
      const { hidden, heads, feedForward } = model.kinds.encoder!;
      const sizes = { layers: model.layers.length, hidden, heads, feedForward, classes: model.vocabulary };
      return { ...sizes, ...options, padTo: model.sequence };
    },
    tensors,
  },
};
