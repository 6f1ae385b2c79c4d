import { GalvatronError } from "../../base/errors.js";
import { type ModelOptions, mustDivide, mustKnow, oneOf, positive, positiveReal } from "../model-options.js";
import type { LayerKind, ModelSpec } from "../model-spec.js";

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
};

const IMAGENET = { patch: 4, channels: 3, classes: 1000 };

/** Liu et al. 2021, section 3.3; the huge one is a size that Galvatron ships. */
export const SWIN_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "swin-tiny": { ...IMAGENET, image: 224, window: 7, hidden: 96, heads: 3, depths: [2, 2, 6, 2] },
  "swin-large": { ...IMAGENET, image: 384, window: 12, hidden: 192, heads: 6, depths: [2, 2, 18, 2] },
  "swin-huge": { ...IMAGENET, image: 224, window: 7, hidden: 320, heads: 8, depths: [2, 2, 42, 2] },
};

/** Sizes of one stage, counted from 1. */
export interface SwinStage {
  /** Tokens of a side of the grid. */
  readonly side: number;
  /** Tokens of a side of a window. */
  readonly window: number;
  readonly hidden: number;
  /** Rows of the sequence, padding included. */
  readonly sequence: number;
}

export function swinStage(model: Pick<ModelSpec, "options">, stage: number): SwinStage {
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
export function swinSpec(name: string, given: ModelOptions): ModelSpec {
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
      activation: oneOf(options, "activation", ["gelu", "gelu-tanh"]),
      epsilon: positiveReal(options, "epsilon"),
      initializerRange: positiveReal(options, "initializerRange"),
    },
  };
}
