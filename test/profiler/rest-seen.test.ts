import { expect, test } from "vitest";
import { uniformPlan } from "../../src/plan/uniform.js";
import { restCurve, restSeen } from "../../src/profiler/rest-seen.js";
import { type DurationOf, simulateTimes } from "../../src/program/simulate.js";
import { lower, smallModel } from "../program/small-model.js";

const model = smallModel(4);
const alone = { forwardMs: 10, backwardMs: 20 };
const inKind = (layer: number): boolean => layer >= 0 && layer < 4;

/** Layers at a share of their time alone; embedding and head take nothing. */
const taking =
  (factor: number): DurationOf =>
  (program, index) => {
    const { op, label } = program.instructions[index]!;
    if (op !== "run" || !inKind(label.layer ?? -1)) return 0;
    return factor * (label.phase === "forward" ? alone.forwardMs : alone.backwardMs);
  };

test("a pipeline shows how fast its layers were, at the share of the step in which a rank had work", () => {
  for (const [microBatches, workShare] of [
    [1, 1 / 4],
    [4, 4 / 7],
  ] as const) {
    const plan = uniformPlan(model, { ranks: 4, globalBatch: 8, pipelineDegree: 4, microBatches });
    const { programs } = lower(model, plan);
    const { times } = simulateTimes(programs, taking(0.9));
    const samples = restSeen(
      { programs, steps: [times.map((ofRank) => ({ instructionsMs: Float64Array.from(ofRank) }))] },
      inKind,
      alone,
    );
    expect(samples).toHaveLength(4);
    for (const sample of samples) {
      expect(sample.timeFactor).toBeCloseTo(0.9, 9);
      expect(sample.workShare).toBeCloseTo(workShare, 9);
    }
  }
});

test("times that nobody measured say nothing", () => {
  const { programs } = lower(model, uniformPlan(model, { ranks: 4, globalBatch: 8, pipelineDegree: 4 }));
  const nothing = programs.map(({ instructions }) => ({
    instructionsMs: new Float64Array(2 * instructions.length),
  }));
  expect(restSeen({ programs, steps: [nothing] }, inKind, alone)).toEqual([]);
});

test("the curve has a point for each stretch of work shares, and never falls", () => {
  const curve = restCurve([
    { workShare: 0.52, timeFactor: 0.95 },
    { workShare: 0.2, timeFactor: 0.8 },
    { workShare: 0.24, timeFactor: 0.9 },
    { workShare: 0.85, timeFactor: 0.93 },
    { workShare: 0.99, timeFactor: 1.03 },
  ]);
  expect(curve.map(({ workShare }) => workShare)).toEqual([0.22, 0.52, 0.85, 0.99]);
  expect(curve.map(({ timeFactor }) => timeFactor)).toEqual([0.8500000000000001, 0.95, 0.95, 1]);
});
