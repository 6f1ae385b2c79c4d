import { describe, expect, it } from "vitest";
import { familyOf } from "../../src/families/registry.js";
import type { TensorView } from "../../src/families/tensor-view.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import {
  countedLabels,
  GOLDEN_NAMES,
  type Golden,
  goldenBatch,
  goldenModel,
  goldenWeights,
  readGolden,
  unpack,
} from "../graph/golden.js";
import type { Content } from "../graph/run-onnx.js";
import { relativeDifference } from "../graph/simulate-layer.js";
import { type Trained, trainInProcess } from "../graph/train-in-process.js";
import { fileTensorsOf, parametersOf } from "./file-tensors.js";

/** Gradients that are zero in exact arithmetic: the key bias moves all scores of a query alike. */
const ZERO = /\.key\.bias$/;

/** The stream that Hugging Face's layer of the same number hands on, without the rows that pad it. */
function stateAt(model: ModelSpec, trained: Trained, at: number, rows: number): Content {
  const outputs = trained.first.outputs[at]!;
  const stream = model.layers[at - 1] === "decoder" ? "decoder" : "encoder";
  const { dtype, shape, data } = (outputs.get("hidden") ?? outputs.get(stream))!;
  const cut = [rows, ...shape.slice(1)];
  return {
    dtype,
    shape: cut,
    data: Array.from(data).slice(
      0,
      cut.reduce((a, b) => a * b, 1),
    ),
  };
}

function gradientsAgree(views: readonly TensorView[], golden: Golden, trained: Trained): void {
  const actual = fileTensorsOf(views, trained.first.gradients);
  expect([...actual.keys()].sort()).toEqual(Object.keys(golden.gradients).sort());
  const all = Object.values(golden.gradients).flatMap((packed) => Array.from(unpack(packed).data));
  const norm = Math.hypot(...all);
  for (const [name, packed] of Object.entries(golden.gradients)) {
    const expected = unpack(packed);
    const content: Content = { ...expected, dtype: "float64", data: actual.get(name)! };
    if (ZERO.test(name) && !("rope_parameters" in golden.config))
      expect(Math.max(...Array.from(content.data, Math.abs)), name).toBeLessThan(1e-7 * norm);
    else expect(relativeDifference(content, expected), name).toBeLessThan(1e-5);
  }
}

describe("with the same weights as Hugging Face's own model (test/python/make_hugging_face.py)", () => {
  it.each(GOLDEN_NAMES)("%s: forward, every gradient, and the losses of 20 AdamW steps", async (name) => {
    const golden = readGolden(name);
    const model = goldenModel(golden, JSON.stringify(golden.config));
    const views = familyOf(model.family).huggingFace.tensors(model);
    const weights = parametersOf(views, goldenWeights(golden));
    const trained = await trainInProcess(model, golden.optimizer, {
      samples: golden.samples,
      lossTokens: countedLabels(golden),
      steps: golden.data.map((_, step) => goldenBatch(golden, step)),
      weights,
    });
    expect(Math.abs(trained.losses[0]! / golden.losses[0]! - 1), "loss").toBeLessThan(1e-5);
    for (const [at, packed] of golden.states.entries()) {
      const expected = unpack(packed);
      expect(
        relativeDifference(stateAt(model, trained, at, expected.shape[0]!), expected),
        `output of layer ${at}`,
      ).toBeLessThan(1e-5);
    }
    gradientsAgree(views, golden, trained);
    trained.losses.forEach((loss, step) => {
      expect(Math.abs(loss / golden.losses[step]! - 1), `loss of step ${step}`).toBeLessThan(1e-4);
      expect(
        Math.abs(trained.norms[step]! / golden.gradientNorms[step]! - 1),
        `norm of step ${step}`,
      ).toBeLessThan(1e-3);
    });
  });
});
