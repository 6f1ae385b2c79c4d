import { describe, expect, it } from "vitest";
import { type LearningRateSchedule, learningRateAt } from "../../src/runtime/learning-rate.js";
import { hyperValues, type OptimizerOptions, optimizerFrom } from "../../src/runtime/optimizer.js";

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

  const [peak, warmup, steps] = [2, 10, 110];
  /** After the warm-up, step by step, as the sources write them; t counts from the end of the warm-up. */
  it.each<[LearningRateSchedule, (t: number, before: number) => number]>([
    [{ kind: "constant" }, () => peak],
    // torch.optim.lr_scheduler.LinearLR(start_factor=1, end_factor=0.1, total_iters=99): one equal step down each time.
    [{ kind: "linear", floor: 0.1 }, (t, before) => (t === 0 ? peak : before - (0.9 * peak) / 99)],
    // torch.optim.lr_scheduler.CosineAnnealingLR(T_max=99, eta_min=0.2), in its chained form.
    [
      { kind: "cosine", floor: 0.1 },
      (t, before) =>
        t === 0
          ? peak
          : ((1 + Math.cos((Math.PI * t) / 99)) / (1 + Math.cos((Math.PI * (t - 1)) / 99))) * (before - 0.2) +
            0.2,
    ],
    // Vaswani et al. 2017, section 5.3, up to a constant: min(s^-0.5, s · w^-1.5) with s the steps done.
    [{ kind: "inverseSquareRoot" }, (t) => peak * Math.sqrt(warmup) * (t + warmup) ** -0.5],
    // Hu et al. 2024, section 4: stable, then down in a line of as many steps as the decay has.
    [
      { kind: "warmupStableDecay", decaySteps: 20, floor: 0.1 },
      (t, before) => (t + warmup < steps - 20 ? peak : before - (0.9 * peak) / 20),
    ],
  ])("%o is its formula at every step", (schedule, formula) => {
    let before = Number.NaN;
    for (let t = 0; t < steps - warmup; t++) {
      before = formula(t, before);
      expect(at(schedule, warmup + t), `step ${warmup + t}`).toBeCloseTo(before, 9);
    }
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
    const refused = (options: OptimizerOptions): string => {
      try {
        optimizerFrom(options, 10);
      } catch (error) {
        return (error as Error).message;
      }
      return "";
    };
    expect(refused({ beta1: 1 })).toBe("Expected beta1 to be at least 0 and less than 1, got 1.");
    for (const peak of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e39])
      expect(refused({ learningRate: peak })).toMatch(/^Expected learningRate\.peak to be .*, got /);
    for (const floor of [Number.NaN, -50, 2])
      expect(refused({ learningRate: { schedule: { kind: "cosine", floor } } })).toMatch(/schedule\.floor/);
    const misspelt = { kind: "cosin", floor: 0 } as unknown as { kind: "cosine"; floor: number };
    expect(refused({ learningRate: { schedule: misspelt } })).toMatch(/to be constant, .*, got cosin\.$/);
    expect(refused({ learningRate: { warmupSteps: 1.5 } })).toMatch(/warmupSteps/);
    expect(refused({ epsilon: 1e-60 })).toMatch(/epsilon/);
    expect(refused({ maxNorm: Number.NaN })).toMatch(/maxNorm/);
  });
});
