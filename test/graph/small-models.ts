import { modelSpec } from "../../src/families/registry.js";
import type { ModelSpec } from "../../src/model/model-spec.js";

/** A tiny model of each family, with what is odd about it: uneven vocabulary, grouped heads, padded rows. */
export const SMALL_MODELS: readonly ModelSpec[] = [
  modelSpec("gpt", { layers: 2, hidden: 16, heads: 4, sequence: 8, vocabulary: 11, tied: false }),
  modelSpec("llama", {
    layers: 2,
    hidden: 16,
    heads: 8,
    keyValueHeads: 4,
    headWidth: 4,
    feedForward: 12,
    sequence: 8,
    vocabulary: 11,
    queryKeyValueBias: true,
  }),
  modelSpec("neox", {
    layers: 2,
    hidden: 32,
    heads: 4,
    feedForward: 24,
    sequence: 8,
    vocabulary: 11,
    rotaryShare: 0.5,
    activation: "gelu-tanh",
  }),
  modelSpec("bert", {
    layers: 2,
    hidden: 16,
    heads: 4,
    sequence: 8,
    vocabulary: 11,
    activation: "gelu-tanh",
  }),
  modelSpec("t5", {
    layers: 2,
    hidden: 16,
    heads: 4,
    headWidth: 6,
    feedForward: 24,
    sequence: 8,
    encoderSequence: 12,
    vocabulary: 11,
    buckets: 8,
    farthest: 10,
  }),
  modelSpec("swin", {
    depths: [2, 2],
    hidden: 8,
    heads: 4,
    image: 24,
    patch: 4,
    channels: 1,
    window: 3,
    classes: 5,
    padTo: 4,
    activation: "gelu-tanh",
  }),
  modelSpec("vit", {
    layers: 2,
    hidden: 16,
    heads: 4,
    image: 6,
    patch: 2,
    channels: 2,
    classes: 5,
    padTo: 4,
    activation: "gelu-tanh",
  }),
];

/** Every layer that a model's graphs are made for. */
export function layerKinds(model: ModelSpec): readonly string[] {
  return ["embedding", ...Object.keys(model.kinds), "head"];
}

/** What drops out differently: plain attention, two stacks and inside the feed-forward, windows and whole branches. */
export const DROPOUT_MODELS: readonly ModelSpec[] = SMALL_MODELS.filter(({ family }) =>
  ["gpt", "t5", "swin"].includes(family),
).map((model) => ({
  ...model,
  name: `${model.family} with dropout`,
  options: {
    ...model.options,
    dropout: 0.2,
    attentionDropout: 0.3,
    ...(model.family === "swin" && { dropPath: 0.6 }),
  },
}));
