import { describe, expect, it } from "vitest";
import { type LearningRateSchedule, learningRateAt } from "../../src/runtime/learning-rate.js";
import { hyperValues, optimizerFrom } from "../../src/runtime/optimizer.js";

const at = (schedule: LearningRateSchedule, step: number, warmupSteps = 10): number =>
  learningRateAt({ peak: 2, warmupSteps, schedule }, step, 110);

describe("learning rate", () => {
  it("warms up straight to the peak", () => {
    expect([0, 4, 9, 10].map((step) => at({ kind: "constant" }, step))).toEqual([0.2, 1, 2, 2]);
  });

  it("ends at the floor", () => {
    expect(at({ kind: "linear", floor: 0.1 }, 109)).toBeCloseTo(0.2, 12);
    expect(at({ kind: "cosine", floor: 0.1 }, 109)).toBeCloseTo(0.2, 12);
    expect(at({ kind: "warmupStableDecay", decaySteps: 20, floor: 0 }, 109)).toBeCloseTo(0, 12);
  });

  it("is in the middle where the middle is", () => {
    expect(at({ kind: "linear", floor: 0 }, 10 + 99 / 2)).toBeCloseTo(1, 12);
    expect(at({ kind: "cosine", floor: 0 }, 10 + 99 / 2)).toBeCloseTo(1, 12);
    expect(at({ kind: "warmupStableDecay", decaySteps: 20, floor: 0 }, 89)).toBe(2);
    expect(at({ kind: "inverseSquareRoot" }, 10 + 30)).toBeCloseTo(1, 12);
  });
});

describe("optimizer", () => {
  it("corrects the bias of the moments by the number of updates", () => {
    const optimizer = optimizerFrom(
      { learningRate: { peak: 1, warmupSteps: 0, schedule: { kind: "constant" } } },
      10,
    );
    const [rate, , , , , first, second] = hyperValues(optimizer, 0, 10);
    expect(rate).toBe(1);
    expect(first).toBeCloseTo(1 - optimizer.beta1, 6);
    expect(second).toBeCloseTo(1 - optimizer.beta2, 6);
  });

  it("refuses settings outside their range", () => {
    expect(() => optimizerFrom({ beta1: 1 }, 10)).toThrow(/beta < 1/);
    expect(() => optimizerFrom({ learningRate: -1 }, 10)).toThrow(/Optimizer settings/);
  });
});
