import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FAMILIES, familyOf, modelSpec, smallModel } from "../../../src/families/registry.js";
import type { ModelSpec } from "../../../src/model/model-spec.js";
import { drawPlan } from "../../../src/plan/draw-plan.js";
import type { Plan, Precision } from "../../../src/plan/plan.js";
import { uniformPlan } from "../../../src/plan/uniform.js";
import type { LoweredPlan } from "../../../src/program/lower-plan.js";
import type { Instruction } from "../../../src/program/program.js";
import { openHostPool } from "../../../src/runtime/coordinator/host-pool.js";
import type { WorkerPool } from "../../../src/runtime/coordinator/worker-pool.js";
import { hashNumbers } from "../../../src/runtime/data/sample-order.js";
import { isWithin, verifyBounds } from "../../../src/runtime/verify/bounds.js";
import { coverageOf } from "../../../src/runtime/verify/coverage.js";
import { type PlanDifference, verifyPlans } from "../../../src/runtime/verify/verify-plans.js";

let pool: WorkerPool;
beforeAll(async () => {
  pool = await openHostPool(8, 1);
});
afterAll(() => pool.close());

const silent = (): void => {};

describe("random plans", { timeout: 240_000 }, () => {
  it.each(FAMILIES.map(({ name }) => name))("%s trains alike under each", async (family) => {
    const model = smallModel(family);
    let drawn = 0;
    const pick = (count: number): number => hashNumbers(7, drawn++) % count;
    const plans = Array.from({ length: 10 }, (_, i) =>
      drawPlan(model, { ranks: [2, 4, 8][i % 3]!, globalBatch: 8 }, pick),
    );
    const report = await verifyPlans(pool, model, plans, 7, silent);
    expect(report.referenceMoved).toBeGreaterThan(1e-2);
    for (const { largest } of report.differences) expect(largest).toBeLessThanOrEqual(1e-5);
  });
});

describe("dropout", { timeout: 240_000 }, () => {
  it.each(["gpt", "t5", "swin"])("%s drops the same elements under every plan", async (family) => {
    const model = smallModel(family, 0.1);
    let drawn = 0;
    const pick = (count: number): number => hashNumbers(8, drawn++) % count;
    const plans = Array.from({ length: 2 }, () => drawPlan(model, { ranks: 4, globalBatch: 8 }, pick));
    const report = await verifyPlans(pool, model, plans, 7, silent);
    for (const { largest } of report.differences) expect(largest).toBeLessThanOrEqual(1e-5);
  });

  it("by the rank instead of the sample is found", async () => {
    const model = smallModel("gpt", 0.1);
    const byRank = (lowered: LoweredPlan): LoweredPlan => ({
      ...lowered,
      programs: lowered.programs.map((program) => ({
        ...program,
        io: {
          ...program.io,
          inputPlaces: Object.fromEntries(
            Object.entries(program.io.inputPlaces).map(([key, place]) => [
              key,
              place.value === "dropout" ? { ...place, firstSample: 0 } : place,
            ]),
          ),
        },
      })),
    });
    const plan = uniformPlan(model, { ranks: 2, globalBatch: 8 });
    const report = await verifyPlans(pool, model, [plan], 1, silent, byRank);
    expect(report.differences[0]!.largest).toBeGreaterThan(1e-3);
  });
});

function withoutReduction(lowered: LoweredPlan): LoweredPlan {
  return {
    ...lowered,
    programs: lowered.programs.map((program) => {
      const fault = program.instructions.findIndex(
        ({ op, label }) => op === "allReduce" && label.phase === "reduce",
      );
      expect(fault).toBeGreaterThanOrEqual(0);
      const instructions = program.instructions.map((instruction, index): Instruction => {
        if (index !== fault || instruction.op !== "allReduce") return instruction;
        const { stream, waits, label, input, output } = instruction;
        return { op: "copy", stream, waits, label, input, output };
      });
      return { ...program, instructions };
    }),
  };
}

/** The data of all micro-batches but the first is never written. */
function onlyFirst(lowered: LoweredPlan): LoweredPlan {
  return {
    ...lowered,
    programs: lowered.programs.map((program) => ({
      ...program,
      io: {
        ...program.io,
        inputs: Object.fromEntries(
          Object.entries(program.io.inputs).map(([key, tensors]) => [key, tensors.slice(0, 1)]),
        ),
      },
    })),
  };
}

describe("bfloat16", { timeout: 240_000 }, () => {
  const drawn = (model: ModelSpec, precision: Precision = "bfloat16"): readonly Plan[] => {
    let count = 0;
    const pick = (choices: number): number => hashNumbers(1, count++) % choices;
    return Array.from({ length: 4 }, () => drawPlan(model, { ranks: 8, globalBatch: 8, precision }, pick));
  };

  it.each([
    ["llama", "bfloat16"],
    ["t5", "bfloat16"],
    ["llama", "bfloat16-gradients"],
    ["swin", "bfloat16-gradients"],
  ] as const)("%s in %s trains alike, as far as its rounding lets it", async (family, precision) => {
    const model = smallModel(family);
    const bounds = verifyBounds(model, precision);
    const { differences } = await verifyPlans(pool, model, drawn(model, precision), 1, silent);
    for (const difference of differences)
      expect(isWithin(difference, bounds), difference.worstTensor).toBe(true);
  });

  it("T5 goes further apart only through its ReLU", async () => {
    const relu = smallModel("t5");
    const smooth = modelSpec("t5", { ...familyOf("t5").small, activation: "gated-gelu-tanh" });
    const gradients = async (model: ModelSpec): Promise<readonly PlanDifference[]> =>
      (await verifyPlans(pool, model, drawn(model).slice(0, 1), 1, silent)).differences;
    expect((await gradients(smooth))[0]!.gradient).toBeLessThan(5e-2);
    const [jumping] = await gradients(relu);
    expect(jumping!.gradient).toBeGreaterThan(5e-2);
    expect(jumping!.worstTensor).toMatch(/feedForward\.up\.weight$/);
  });

  it("hides no fault behind its bounds", async () => {
    const model = smallModel("t5");
    const bounds = verifyBounds(model, "bfloat16");
    const shape = { globalBatch: 8, precision: "bfloat16" } as const;
    for (const [plan, fault] of [
      [uniformPlan(model, { ...shape, ranks: 2 }), withoutReduction],
      [uniformPlan(model, { ...shape, ranks: 1, microBatches: 8 }), onlyFirst],
    ] as const) {
      const [broken] = (await verifyPlans(pool, model, [plan], 1, silent, fault)).differences;
      expect(isWithin(broken!, bounds)).toBe(false);
    }
  });
});

describe("a fault", () => {
  const model = smallModel("gpt");

  it("of a reduction left out is found", async () => {
    const plan = uniformPlan(model, { ranks: 2, globalBatch: 8 });
    const honest = await verifyPlans(pool, model, [plan], 1, silent);
    expect(honest.differences[0]!.largest).toBeLessThanOrEqual(1e-5);
    const report = await verifyPlans(pool, model, [plan], 1, silent, withoutReduction);
    expect(report.differences[0]!.largest).toBeGreaterThan(1e-3);
  });

  it("of a micro-batch dropped is found", async () => {
    const plan = uniformPlan(model, { ranks: 1, globalBatch: 8, microBatches: 4 });
    const report = await verifyPlans(pool, model, [plan], 1, silent, onlyFirst);
    expect(report.differences[0]!.largest).toBeGreaterThan(1e-3);
  });
});

describe("coverage", () => {
  it("counts what plans use and what they use together", () => {
    const model = smallModel("gpt");
    const { dimensions, pairs } = coverageOf([
      uniformPlan(model, { ranks: 2, globalBatch: 8, tensorDegree: 2, recompute: true }),
      uniformPlan(model, { ranks: 2, globalBatch: 8, dataParallel: "zero3", recompute: true }),
    ]);
    expect(dimensions).toEqual({
      recompute: 2,
      "tensor parallel": 1,
      "tensor parallel vocabulary": 1,
      zero3: 1,
    });
    expect(pairs).toEqual({
      "recompute × tensor parallel": 1,
      "recompute × tensor parallel vocabulary": 1,
      "recompute × zero3": 1,
      "tensor parallel × tensor parallel vocabulary": 1,
    });
  });
});
