import { GalvatronError } from "../base/errors.js";
import type { FamilyLayers } from "../graph/family-layers.js";
import type { Value } from "../graph/ir.js";
import type { LayerScope } from "../graph/layer-scope.js";
import { classifierLoss, meanFeatures } from "../graph/layers/classifier.js";
import { dropout } from "../graph/layers/dropout.js";
import { layerNorm } from "../graph/layers/normalization.js";
import { positionsOf } from "../graph/layers/positions.js";
import { windowBlock } from "../graph/layers/window-block.js";
import { neighbourhoods, ownPadded } from "../graph/layers/windows.js";
import { type ModelOptions, mustDivide, mustKnow, positive, rateOf } from "../model/model-options.js";
import type { LayerKind, ModelSpec } from "../model/model-spec.js";
import {
  dropoutFields,
  geluFields,
  ignored,
  imageFields,
  number,
  numbers,
  only,
  rate,
  squareSide,
} from "./config-fields.js";
import type { Family } from "./family.js";
import { blockOptions, initialNormal } from "./plain-kind.js";
import {
  linearTensors,
  normTensors,
  patchTensors,
  sameTensor,
  type TensorView,
  visionBlockTensors,
} from "./tensor-view.js";

/** A Swin for small grey images (28 × 28 pixels, ten classes) that trains on a laptop. */
const SWIN_DEFAULTS: ModelOptions = {
  /** Blocks of each stage: even, for a layer is a pair of blocks. */
  depths: [2, 2],
  heads: 2,
  /** Heads of each stage; by default those of the first, doubled from stage to stage. */
  stageHeads: [],
  /** Width of the first stage; it doubles from stage to stage. */
  hidden: 32,
  image: 28,
  patch: 2,
  channels: 1,
  window: 7,
  classes: 10,
  /** Sequences are padded to a multiple of this, so that tensor groups can cut them. */
  padTo: 8,
  activation: "gelu",
  epsilon: 1e-5,
  initializerRange: 0.02,
  /** Share of samples for which the last block's attention is left out (stochastic depth); falls to 0 at the first block. */
  dropPath: 0,
};

const IMAGENET = { patch: 4, channels: 3, classes: 1000 };

/** Liu et al. 2021, section 3.3; the huge one is a size that Galvatron ships. */
const SWIN_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "swin-tiny": { ...IMAGENET, image: 224, window: 7, hidden: 96, heads: 3, depths: [2, 2, 6, 2] },
  "swin-large": { ...IMAGENET, image: 384, window: 12, hidden: 192, heads: 6, depths: [2, 2, 18, 2] },
  "swin-huge": { ...IMAGENET, image: 224, window: 7, hidden: 320, heads: 8, depths: [2, 2, 42, 2] },
};

/** Sizes of one stage, counted from 1. */
interface SwinStage {
  /** Tokens of a side of the grid. */
  readonly side: number;
  /** Tokens of a side of a window. */
  readonly window: number;
  readonly hidden: number;
  /** Rows of the sequence, padding included. */
  readonly sequence: number;
}

function swinStage(model: Pick<ModelSpec, "options">, stage: number): SwinStage {
  const option = (name: string): number => Number(model.options[name]);
  return stageOf(
    option("image") / option("patch"),
    option("window"),
    option("hidden"),
    option("padTo"),
    stage,
  );
}

function stageOf(firstSide: number, window: number, hidden: number, padTo: number, stage: number): SwinStage {
  const side = firstSide / 2 ** (stage - 1);
  return {
    side,
    window: Math.min(window, side),
    hidden: hidden * 2 ** (stage - 1),
    sequence: padTo * Math.ceil(side ** 2 / padTo),
  };
}

function depthsOf(options: ModelOptions): readonly number[] {
  const depths = options.depths;
  if (
    !Array.isArray(depths) ||
    depths.length === 0 ||
    depths.length > 9 ||
    depths.some((d: unknown) => typeof d !== "number" || !(d > 0) || d % 2 !== 0)
  ) {
    throw new GalvatronError(
      "MODEL_INVALID",
      `depths: expected an even number of blocks for each stage, got ${depths}`,
      {
        option: "depths",
      },
    );
  }
  return depths as readonly number[];
}

function headsOf(options: ModelOptions, stages: number): readonly number[] {
  const given = options.stageHeads as readonly number[];
  if (given.length === 0) {
    return Array.from({ length: stages }, (_, i) => positive(options, "heads") * 2 ** i);
  }
  if (given.length !== stages) {
    throw new GalvatronError("MODEL_INVALID", `stageHeads: expected ${stages} numbers, got ${given.length}`, {
      option: "stageHeads",
    });
  }
  return given;
}

/** Two blocks with window attention: a layer of the plan. */
function pairKind(name: string, stage: SwinStage, heads: number): LayerKind {
  const { hidden, window, side, sequence } = stage;
  const feedForward = 4 * hidden;
  const matrices = 4 * hidden * hidden + 2 * hidden * feedForward;
  const others = 4 * hidden + feedForward + hidden + 4 * hidden + (2 * window - 1) ** 2 * heads;
  return {
    name,
    hidden,
    heads,
    keyValueHeads: heads,
    feedForward,
    sequence,
    parameters: 2 * (matrices + others),
    forwardFlops: 2 * (2 * side ** 2 * matrices + 4 * side ** 2 * window ** 2 * hidden),
  };
}

function mergeKind(name: string, stage: SwinStage, heads: number): LayerKind {
  const { hidden, side, sequence } = stage;
  return {
    name,
    hidden,
    heads,
    keyValueHeads: heads,
    feedForward: 4 * hidden,
    sequence,
    parameters: 8 * hidden * hidden + 8 * hidden,
    forwardFlops: (2 * side ** 2 * 8 * hidden * hidden) / 4,
  };
}

/**
 * A Swin: stages of block pairs, with patch merging between them. A layer of the plan is a pair of blocks (windows,
 * shifted windows) or one merging: kinds "stage1", "merge1", "stage2", …
 */
function swinSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("swin", given, SWIN_DEFAULTS);
  const options: ModelOptions = { ...SWIN_DEFAULTS, ...given };
  const depths = depthsOf(options);
  const heads = headsOf(options, depths.length);
  const hidden = positive(options, "hidden");
  const image = positive(options, "image");
  const patch = positive(options, "patch");
  const window = positive(options, "window");
  const channels = positive(options, "channels");
  const classes = positive(options, "classes");
  const padTo = positive(options, "padTo");
  mustDivide("image", image, patch, "patch");
  mustDivide("patches of a side", image / patch, 2 ** (depths.length - 1), "halvings between the stages");
  const kinds: Record<string, LayerKind> = {};
  const layers: string[] = [];
  for (const [i, depth] of depths.entries()) {
    const stage = stageOf(image / patch, window, hidden, padTo, i + 1);
    mustDivide("side of a stage's grid", stage.side, stage.window, "window");
    mustDivide("hidden", stage.hidden, heads[i]!, "heads");
    kinds[`stage${i + 1}`] = pairKind(`stage${i + 1}`, stage, heads[i]!);
    layers.push(...new Array<string>(depth / 2).fill(`stage${i + 1}`));
    if (i + 1 === depths.length) continue;
    kinds[`merge${i + 1}`] = mergeKind(`merge${i + 1}`, stage, heads[i]!);
    layers.push(`merge${i + 1}`);
  }
  const width = channels * patch * patch;
  const last = stageOf(image / patch, window, hidden, padTo, depths.length);
  return {
    family: "swin",
    name,
    sequence: kinds.stage1!.sequence,
    vocabulary: classes,
    kinds,
    layers,
    embedding: { parameters: hidden * (width + 1) + 2 * hidden },
    head: {
      parameters: 2 * last.hidden + classes * (last.hidden + 1),
      forwardFlops: 2 * last.hidden * classes,
      tied: false,
    },
    options: {
      stages: depths.length,
      hidden,
      image,
      patch,
      channels,
      window,
      padTo,
      ...blockOptions(options),
      ...rateOf("dropPath", options.dropPath),
    },
  };
}

const BORDER = "hidden";

/** The published models give the norms of patches and of merging no epsilon of their own. */
const PLAIN_EPSILON = 1e-5;

function epsilonOf(model: ModelSpec): number {
  return Number(model.options.epsilon);
}

/** Data "pixels" `[patches, b, channels · patch²]`, patches row by row, values in the order channel, row, column. */
function embedding(scope: LayerScope, model: ModelSpec): void {
  const { g } = scope;
  const { side, hidden, sequence } = swinStage(model, 1);
  const width = Number(model.options.channels) * Number(model.options.patch) ** 2;
  const pixels = scope.data("pixels", "float32", [side * side, scope.request.samples, width]);
  const weight = scope.parameter("patch.weight", [hidden, width], { init: initialNormal(model) });
  const bias = scope.parameter("patch.bias", [hidden], { init: { kind: "zeros" } });
  const places = positionsOf(scope, sequence);
  const inside = g.less(places, g.scalar(side * side, "int64"));
  const own = g.gather(pixels, g.where(inside, places, g.scalar(0, "int64")));
  const patches = g.linear(g.cast(own, scope.dtype), weight, bias);
  scope.borderOutput(BORDER, dropout(scope, layerNorm(scope, "norm", patches, PLAIN_EPSILON)));
}

/** By number of the layer, 0 the embedding: the rate of its first or second block, in even steps from 0 to the last's. */
function pathRates({ layers, options }: ModelSpec, place: 0 | 1): readonly number[] {
  const most = Number(options.dropPath ?? 0);
  const isPair = (layer: string): boolean => !layer.startsWith("merge");
  const blocks = 2 * layers.filter(isPair).length;
  let before = 0;
  return [
    0,
    ...layers.map((layer) => {
      if (!isPair(layer)) return 0;
      before += 2;
      return (most * (before - 2 + place)) / (blocks - 1);
    }),
  ];
}

/** Two blocks, the second with shifted windows, unless one window holds the whole grid. */
function pair(scope: LayerScope, model: ModelSpec, kind: LayerKind, stage: number): void {
  const { side, window } = swinStage(model, stage);
  const shift = side > window ? Math.floor(window / 2) : 0;
  const shape = {
    hidden: kind.hidden,
    heads: kind.heads,
    feedForward: kind.feedForward,
    sequence: kind.sequence,
    epsilon: epsilonOf(model),
    approximate: model.options.activation === "gelu" ? "none" : "tanh",
    init: initialNormal(model),
  } as const;
  const block = (name: string, x: Value, by: number, place: 0 | 1): Value =>
    windowBlock(scope, name, x, { ...shape, dropPath: pathRates(model, place) }, { side, window, shift: by });
  const x = scope.borderInput("input", kind.sequence, kind.hidden);
  const first = block("first", x, 0, 0);
  scope.borderOutput(BORDER, block("second", first, shift, 1));
}

/** Patch merging: each 2 × 2 neighbourhood becomes one token of twice the width. */
function merge(scope: LayerScope, model: ModelSpec, stage: number): void {
  const { g } = scope;
  const { side, hidden, sequence } = swinStage(model, stage);
  const next = swinStage(model, stage + 1);
  const x = scope.borderInput("input", sequence, hidden);
  const merged = ownPadded(scope, neighbourhoods(scope, x, side), next.sequence);
  const normed = layerNorm(scope, "norm", merged, PLAIN_EPSILON);
  const weight = scope.parameter("reduction.weight", [next.hidden, 4 * hidden], {
    init: initialNormal(model),
  });
  scope.borderOutput(BORDER, g.linear(normed, weight, null));
}

function body(scope: LayerScope, model: ModelSpec, kind: LayerKind): void {
  const stage = Number(kind.name.slice(-1));
  if (kind.name.startsWith("merge")) merge(scope, model, stage);
  else pair(scope, model, kind, stage);
}

/** Class from the mean over all tokens. */
function head(scope: LayerScope, model: ModelSpec): void {
  const { side, hidden, sequence } = swinStage(model, Number(model.options.stages));
  const x = scope.borderInput("input", sequence, hidden);
  const normed = layerNorm(scope, "norm", x, epsilonOf(model));
  const mean = meanFeatures(scope, normed, sequence, side * side);
  classifierLoss(scope, mean, { hidden, classes: model.vocabulary, init: initialNormal(model) });
}

/** Swin (Liu et al. 2021): windows and shifted windows in stages of falling resolution. */
const SWIN_LAYERS: FamilyLayers = { embedding, body, head };

function blockTensors(ours: string, theirs: string, kind: LayerKind, window: number): readonly TensorView[] {
  const table = `${theirs}.attention.self.relative_position_bias_table`;
  return [
    ...visionBlockTensors(ours, theirs, "attention.self", kind),
    sameTensor(`${ours}.attention.bias.weight`, table, [(2 * window - 1) ** 2, kind.heads]),
  ];
}

function tensors(model: ModelSpec): readonly TensorView[] {
  const [patch, channels] = [Number(model.options.patch), Number(model.options.channels)];
  const first = swinStage(model, 1).hidden;
  const last = swinStage(model, Number(model.options.stages)).hidden;
  let block = 0;
  const layer = (name: string, index: number): readonly TensorView[] => {
    const number = Number(name.slice(-1));
    const [ours, theirs] = [`layers.${index}`, `swin.encoder.layers.${number - 1}`];
    const { hidden, window } = swinStage(model, number);
    if (name.startsWith("merge")) {
      block = 0;
      const reduction = [2 * hidden, 4 * hidden] as const;
      return [
        ...normTensors(`${ours}.norm`, `${theirs}.downsample.norm`, 4 * hidden, true),
        ...linearTensors(`${ours}.reduction`, `${theirs}.downsample.reduction`, reduction, false),
      ];
    }
    return ["first", "second"].flatMap((place) =>
      blockTensors(`${ours}.${place}`, `${theirs}.blocks.${block++}`, model.kinds[name]!, window),
    );
  };
  return [
    ...patchTensors("swin.embeddings.patch_embeddings.projection", first, channels, patch),
    ...normTensors("embedding.norm", "swin.embeddings.norm", first, true),
    ...model.layers.flatMap(layer),
    ...normTensors("head.norm", "swin.layernorm", last, true),
    ...linearTensors("head.output", "classifier", [model.vocabulary, last], true),
  ];
}

function swinOptions(model: ModelSpec): ModelOptions {
  const { stages: _, ...options } = model.options;
  const stages = Array.from({ length: Number(model.options.stages) }, (_unused, i) => `stage${i + 1}`);
  return {
    depths: stages.map((stage) => 2 * model.layers.filter((name) => name === stage).length),
    heads: model.kinds.stage1!.heads,
    stageHeads: stages.map((stage) => model.kinds[stage]!.heads),
    classes: model.vocabulary,
    ...options,
  };
}

/** Swin: shifted windows, patch merging, four layer kinds. */
export const SWIN: Family = {
  name: "swin",
  spec: swinSpec,
  presets: SWIN_PRESETS,
  small: { depths: [2, 2], hidden: 16, heads: 2, image: 16, patch: 2, window: 4 },
  rates: ["dropPath"],
  objective: "classification",
  layers: SWIN_LAYERS,
  huggingFace: {
    classes: { swin: "SwinForImageClassification" },
    modelType: () => "swin",
    basePrefix: "swin.",
    fields: () => ({
      ...imageFields(4),
      ...geluFields(1e-5),
      ...dropoutFields(0),
      embed_dim: number("hidden", 96),
      depths: numbers("depths", [2, 2, 6, 2]),
      num_heads: numbers("stageHeads", [3, 6, 12, 24]),
      window_size: squareSide("window", 7),
      mlp_ratio: only(4),
      use_absolute_embeddings: only(false),
      drop_path_rate: rate("dropPath", 0.1),
      ...ignored("out_features", "out_indices", "_out_features", "_out_indices", "stage_names", "num_layers"),
      ...ignored("hidden_size", "path_norm"),
    }),
    options: swinOptions,
    tensors,
  },
};
