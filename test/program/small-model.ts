import type { ModelSpec } from "../../src/model/model-spec.js";

/** A small GPT as the rooms before `graph` see it. */
export function smallModel(layers: number, options: { tied?: boolean; sequence?: number } = {}): ModelSpec {
  const sequence = options.sequence ?? 16;
  return {
    family: "gpt",
    name: "gpt",
    sequence,
    vocabulary: 64,
    kinds: {
      decoder: {
        name: "decoder",
        hidden: 16,
        heads: 8,
        keyValueHeads: 8,
        feedForward: 64,
        sequence,
        parameters: 12 * 16 * 16,
        forwardFlops: 1e6,
      },
    },
    layers: Array.from({ length: layers }, () => "decoder"),
    embedding: { parameters: 80 * 16 },
    head: { parameters: 64 * 16, forwardFlops: 1e5, tied: options.tied ?? false },
    options: {},
  };
}
