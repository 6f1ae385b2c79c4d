import type { Family, ModelSpec } from "../../model/model-spec.js";
import { modelSpec } from "../../model/model-spec-from.js";

/** A small instance of every family, whose sizes divide over up to 8 ranks' pipelines and 4 ranks' tensor groups. */
export function smallModel(family: Family): ModelSpec {
  switch (family) {
    case "gpt":
      return modelSpec("gpt", { layers: 4, hidden: 32, heads: 4, sequence: 16, vocabulary: 61 });
    case "llama":
      return modelSpec("llama", {
        layers: 4,
        hidden: 32,
        heads: 8,
        keyValueHeads: 4,
        sequence: 16,
        vocabulary: 61,
      });
    case "bert":
      return modelSpec("bert", { layers: 4, hidden: 32, heads: 4, sequence: 16, vocabulary: 61 });
    case "t5":
      return modelSpec("t5", {
        layers: 2,
        hidden: 32,
        heads: 4,
        sequence: 8,
        encoderSequence: 16,
        vocabulary: 61,
      });
    case "vit":
      return modelSpec("vit", { layers: 4, hidden: 32, heads: 4, image: 16, patch: 4 });
    case "swin":
      return modelSpec("swin", { depths: [2, 2], hidden: 16, heads: 2, image: 16, patch: 2, window: 4 });
  }
}
