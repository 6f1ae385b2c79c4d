import { describe, expect, it } from "vitest";
import { modelSpec } from "../../src/model/model-spec-from.js";
import { type GoldenLayers, readGolden, unpack } from "./golden.js";
import { ONE_RANK, randomInputs, relativeDifference, simulateLayer } from "./simulate-layer.js";

/** Gradients that are zero in exact arithmetic: the key bias moves all scores of a query alike. */
const ZERO = /attention\.key\.bias\.gradient$/;

// LLaMA's key bias is turned by position before it meets the query, so its gradient is not zero.
const FAMILIES = ["gpt", "llama", "bert", "t5", "vit", "swin"] as const;

const CASES = FAMILIES.flatMap((family) => {
  const golden = readGolden<GoldenLayers>(`${family}-gradients.json`);
  return Object.keys(golden.layers).map((kind) => [family, kind, golden] as const);
});

describe("gradients agree with PyTorch's (test/python/make_gradients.py, make_family_gradients.py)", () => {
  it.each(CASES)("%s %s: outputs and every gradient", async (family, kind, golden) => {
    const model = modelSpec(family, golden.model);
    const request = {
      kind,
      strategy: ONE_RANK,
      samples: golden.samples,
      precision: "float32",
      lossTokens: golden.lossTokens,
    } as const;
    const actual = await simulateLayer(model, request, randomInputs(model, request));
    const expected = golden.layers[kind]!;
    expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
    const norm = Math.hypot(
      ...Object.keys(expected)
        .filter((name) => name.endsWith(".gradient"))
        .flatMap((name) => Array.from(unpack(expected[name]!).data)),
    );
    for (const [name, packed] of Object.entries(expected)) {
      const content = actual[name]!;
      if (ZERO.test(name) && family !== "llama") {
        expect(Math.max(...Array.from(content.data, Math.abs)), name).toBeLessThan(1e-7 * norm);
      } else {
        expect(relativeDifference(content, unpack(packed)), name).toBeLessThan(1e-5);
      }
    }
  });
});
