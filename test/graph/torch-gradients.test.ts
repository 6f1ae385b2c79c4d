import { describe, expect, it } from "vitest";
import { modelSpec } from "../../src/model/model-spec-from.js";
import { type GoldenLayers, readGolden, unpack } from "./golden.js";
import { ONE_RANK, randomInputs, relativeDifference, simulateLayer } from "./simulate-layer.js";

const golden = readGolden<GoldenLayers>("gpt-gradients.json");
const model = modelSpec("gpt", golden.model);

/** Gradients that are zero in exact arithmetic: the key bias moves all scores of a query alike. */
const ZERO = /attention\.key\.bias\.gradient$/;

describe("gpt agrees with PyTorch (test/python/make_gradients.py)", () => {
  it.each(["embedding", "decoder", "head"])("%s: output and every gradient", async (kind) => {
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
      if (ZERO.test(name)) {
        expect(Math.max(...Array.from(content.data, Math.abs)), name).toBeLessThan(1e-7 * norm);
      } else {
        expect(relativeDifference(content, unpack(packed)), name).toBeLessThan(1e-5);
      }
    }
  });
});
