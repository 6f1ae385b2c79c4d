import { describe, expect, test } from "vitest";
import { modelSpec } from "../../src/families/registry.js";
import { describePlan } from "../../src/plan/describe-plan.js";
import { drawPlan } from "../../src/plan/draw-plan.js";
import { verifyProgram } from "../../src/program/verify-program.js";
import { lower } from "./small-model.js";

/** Small instances whose sizes divide by 4. */
const MODELS = {
  bert: modelSpec("bert", { layers: 3, hidden: 32, heads: 4, sequence: 16, vocabulary: 61 }),
  llama: modelSpec("llama", {
    layers: 3,
    hidden: 32,
    heads: 8,
    keyValueHeads: 4,
    sequence: 16,
    vocabulary: 61,
  }),
  t5: modelSpec("t5", { layers: 2, hidden: 32, heads: 4, sequence: 8, encoderSequence: 16, vocabulary: 61 }),
  vit: modelSpec("vit", { layers: 3, hidden: 32, heads: 4, image: 16, patch: 4 }),
  swin: modelSpec("swin", { depths: [2, 2], hidden: 16, heads: 2, image: 16, patch: 2, window: 4 }),
};

describe.each(Object.entries(MODELS))("%s", (_, model) => {
  test.each([1, 2, 4, 8])("random plans on %i ranks lower to programs that fit together", (ranks) => {
    let state = ranks;
    const pick = (count: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 8) % count;
    };
    for (let draw = 0; draw < 2; draw++) {
      const plan = drawPlan(model, { ranks, globalBatch: 8 }, pick);
      const { programs } = lower(model, plan);
      expect(verifyProgram(programs, model), describePlan(plan).join("\n")).toEqual([]);
    }
  });
});
