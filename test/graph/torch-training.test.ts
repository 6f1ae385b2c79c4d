import { describe, expect, it } from "vitest";
import { modelSpec } from "../../src/model/model-spec-from.js";
import { readGolden } from "./golden.js";
import { type Training, trainInProcess } from "./train-in-process.js";

interface GoldenTraining extends Training {
  readonly model: Readonly<Record<string, number | boolean>>;
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
}

describe("training", () => {
  it("follows PyTorch's AdamW for 20 steps of a 4-layer GPT with a tied head", async () => {
    const golden = readGolden<GoldenTraining>("gpt-training.json");
    const { losses, norms } = await trainInProcess(modelSpec("gpt", golden.model), golden);
    losses.forEach((loss, i) => {
      expect(Math.abs(loss / golden.losses[i]! - 1), `loss of step ${i}`).toBeLessThan(1e-4);
      expect(Math.abs(norms[i]! / golden.gradientNorms[i]! - 1), `norm of step ${i}`).toBeLessThan(1e-3);
    });
    expect(losses).toHaveLength(20);
  });
});
