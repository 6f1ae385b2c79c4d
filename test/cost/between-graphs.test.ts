import { expect, test } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { predict } from "../../src/cost/predict.js";
import { analyticProfile } from "../../src/model/analytic-profile.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { programDurations } from "../../src/program/program-durations.js";
import { isCollective } from "../../src/program/span-kind.js";
import { lower, smallModel } from "../program/small-model.js";
import { exampleHardware } from "../search/example-inputs.js";

const model = smallModel(4);
const hardware = exampleHardware(4);
const usual = analyticProfile(model, hardware);
const FACTOR = 1.5;
const slowed = { ...usual, betweenGraphs: FACTOR };

const split = uniformPlan(model, { ranks: 4, globalBatch: 8, tensorDegree: 2, dataParallel: "zero2" });
const whole = uniformPlan(model, { ranks: 4, globalBatch: 8, dataParallel: "zero3" });
/** Layouts change between layers. */
const mixed = { ...split, layers: split.layers.map((own, i) => (i % 2 === 0 ? own : whole.layers[0]!)) };

test("collectives of tensor groups and of layout changes take as much longer as was measured, others do not", () => {
  const time = (profile: typeof usual) => predict(model, mixed, profile, hardware).stages[0]!.time;
  const [before, after] = [time(usual), time(slowed)];
  expect(before.tensorMs).toBeGreaterThan(0);
  expect(before.relayoutMs).toBeGreaterThan(0);
  expect(after.tensorMs).toBeCloseTo(FACTOR * before.tensorMs, 9);
  expect(after.relayoutMs).toBeCloseTo(FACTOR * before.relayoutMs, 9);
  expect(after.dataMs).toBe(before.dataMs);
  expect(after.computeMs).toBe(before.computeMs);
});

test("so do those of the Programs that are simulated", () => {
  const [program] = lower(model, mixed).programs;
  const [before, after] = [usual, slowed].map((profile) =>
    programDurations(costModel(model, profile, hardware)),
  );
  let between = 0;
  for (const [index, instruction] of program!.instructions.entries()) {
    const slows = isCollective(instruction) && instruction.stream === "compute";
    if (slows) between++;
    const ms = before!(program!, index);
    expect(after!(program!, index), `instruction ${index}`).toBeCloseTo(slows ? FACTOR * ms : ms, 9);
  }
  expect(between).toBeGreaterThan(0);
});
