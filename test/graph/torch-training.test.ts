import { describe, expect, it } from "vitest";
import { fillNormal } from "../../src/base/random.js";
import { modelSpec } from "../../src/model/model-spec-from.js";
import { readGolden } from "./golden.js";
import type { Content } from "./run-onnx.js";
import { elements } from "./simulate-layer.js";
import { sequenceFirst, type Training, trainInProcess } from "./train-in-process.js";

interface GoldenTraining extends Training {
  readonly model: Readonly<Record<string, number | boolean>>;
  /** `[step][sample][sequence + 1]` */
  readonly tokens: readonly (readonly (readonly number[])[])[];
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
}

interface GoldenFamily {
  readonly model: Readonly<Record<string, number | boolean>>;
  readonly lossTokens: number;
  readonly losses: readonly number[];
  readonly data: readonly Readonly<Record<string, { shape: readonly number[]; values: readonly number[] }>>[];
}

interface GoldenFamilies extends Training {
  readonly samples: number;
  readonly standardDeviation: number;
  readonly families: Readonly<Record<string, GoldenFamily>>;
}

function expectLosses(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(20);
  actual.forEach((loss, i) => {
    expect(Math.abs(loss / expected[i]! - 1), `loss of step ${i}`).toBeLessThan(1e-4);
  });
}

describe("20 steps of training follow PyTorch's AdamW", () => {
  it("gpt: 4 layers, tied head (test/python/make_gradients.py)", async () => {
    const golden = readGolden<GoldenTraining>("gpt-training.json");
    const model = modelSpec("gpt", golden.model);
    const samples = golden.tokens[0]!.length;
    const { losses, norms } = await trainInProcess(model, golden, {
      samples,
      lossTokens: samples * model.sequence,
      steps: golden.tokens.map((batch) => ({
        tokens: sequenceFirst(batch, 0),
        labels: sequenceFirst(batch, 1),
      })),
    });
    expectLosses(losses, golden.losses);
    norms.forEach((norm, i) => {
      expect(Math.abs(norm / golden.gradientNorms[i]! - 1), `norm of step ${i}`).toBeLessThan(1e-3);
    });
  });

  const golden = readGolden<GoldenFamilies>("family-training.json");
  it.each(Object.entries(golden.families))(
    "%s (test/python/make_family_training.py)",
    async (name, family) => {
      const model = modelSpec(name, family.model);
      const pixels = (step: number): Content => {
        const [image, patch, channels] = ["image", "patch", "channels"].map((option) =>
          Number(model.options[option]),
        );
        const shape = [(image! / patch!) ** 2, golden.samples, channels! * patch! ** 2];
        const data = fillNormal(golden.seed, `pixels.${step}`, 0, elements(shape), 1);
        return { dtype: "float32", shape, data };
      };
      const steps = family.data.map((tensors, step) => {
        const integers = Object.entries(tensors).map(([key, { shape, values }]): [string, Content] => [
          key,
          { dtype: "int64", shape, data: values },
        ]);
        return Object.fromEntries(
          "image" in model.options ? [["pixels", pixels(step)], ...integers] : integers,
        );
      });
      const { samples, standardDeviation } = golden;
      const { lossTokens } = family;
      const { losses } = await trainInProcess(model, golden, {
        samples,
        lossTokens,
        steps,
        standardDeviation,
      });
      expectLosses(losses, family.losses);
    },
  );
});
