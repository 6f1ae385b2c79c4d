import { type ModelOptions, mustDivide, mustKnow, oneOf, positive, positiveReal } from "../model-options.js";
import type { ModelSpec } from "../model-spec.js";
import { plainKind } from "./plain-kind.js";

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
export const VIT_PRESETS: Readonly<Record<string, ModelOptions>> = {
  "vit-base": { ...IMAGENET, layers: 12, hidden: 768, heads: 12 },
  "vit-large": { ...IMAGENET, layers: 24, hidden: 1024, heads: 16 },
  "vit-huge": { ...IMAGENET, layers: 32, hidden: 1280, heads: 16 },
  "vit-xhuge": { ...IMAGENET, layers: 128, hidden: 2560, heads: 32 },
};

/** A ViT: class token and patches with learned positions, pre-norm encoder, classifier. */
export function vitSpec(name: string, given: ModelOptions): ModelSpec {
  mustKnow("vit", given, VIT_DEFAULTS);
  const options: ModelOptions = { ...VIT_DEFAULTS, ...given };
  const layers = positive(options, "layers");
  const hidden = positive(options, "hidden");
  const heads = positive(options, "heads");
  const feedForward = options.feedForward === 0 ? 4 * hidden : positive(options, "feedForward");
  const image = positive(options, "image");
  const patch = positive(options, "patch");
  const channels = positive(options, "channels");
  const classes = positive(options, "classes");
  const padTo = positive(options, "padTo");
  mustDivide("hidden", hidden, heads, "heads");
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
      activation: oneOf(options, "activation", ["gelu", "gelu-tanh"]),
      epsilon: positiveReal(options, "epsilon"),
      initializerRange: positiveReal(options, "initializerRange"),
    },
  };
}
