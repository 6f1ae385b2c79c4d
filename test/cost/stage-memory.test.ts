import { describe, expect, it } from "vitest";
import { costModel } from "../../src/cost/cost-model.js";
import { planStages } from "../../src/cost/predict.js";
import { stageBytes } from "../../src/cost/stage-cost.js";
import { layerGraphs } from "../../src/families/layer-graphs.js";
import { modelSpec } from "../../src/families/registry.js";
import type { ModelOptions } from "../../src/model/model-options.js";
import { EMBEDDING_KIND, HEAD_KIND, type LayerSample } from "../../src/model/model-profile.js";
import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { PRECISIONS } from "../../src/plan/precision.js";
import { samplesPerRank, stageOfRank } from "../../src/plan/stages.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { uniformPlan } from "../../src/plan/uniform.js";
import { verifyPlan } from "../../src/plan/verify-plan.js";
import { sizesOf } from "../../src/profiler/layer-sizes.js";
import { peakMemory } from "../../src/program/memory.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { randomNumbers } from "../search/brute-force.js";
import { exampleHardware } from "../search/example-inputs.js";

const SIZES = { layers: 4, hidden: 128, heads: 4, sequence: 64, vocabulary: 1024 };
const MODELS: readonly (readonly [string, ModelOptions])[] = [
  ["gpt", SIZES],
  ["llama", { ...SIZES, keyValueHeads: 4 }],
  ["bert", SIZES],
  ["vit", { layers: 4, hidden: 128, heads: 4, image: 48, patch: 8 }],
];

/** What the equations say of every stage, with the sizes that the graphs of the layers have. */
function equations(model: ModelSpec, plan: Plan): number[] {
  const sample = (kind: string, strategy: Strategy): LayerSample => {
    const samples = samplesPerRank(plan, strategy);
    const { precision } = plan;
    const own = { ...strategy, recompute: false };
    const graphs = layerGraphs(model, { kind, strategy: own, samples, precision, lossTokens: 100 });
    const { tensorDegree, tensorSplit } = strategy;
    const { sequence } = model.kinds[kind === EMBEDDING_KIND ? model.layers[0]! : model.layers.at(-1)!]!;
    const times = { forwardMs: 1, backwardMs: 2, workspaceBytes: 0 };
    return { kind, tensorDegree, tensorSplit, samples, sequence, ...times, ...sizesOf(graphs) };
  };
  const layers = [
    sample(EMBEDDING_KIND, plan.vocabulary),
    sample(model.layers[0]!, plan.layers[0]!),
    sample(HEAD_KIND, plan.vocabulary),
  ];
  const profile = { model, precision: plan.precision, device: "none", source: "analytic" as const, layers };
  return planStages(costModel(model, profile, exampleHardware(plan.ranks), plan.gradientOrder), plan).map(
    stageBytes,
  );
}

function randomUniform(model: ModelSpec, random: () => number): Plan {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  for (;;) {
    const plan = uniformPlan(model, {
      ranks: pick([1, 2, 4]),
      globalBatch: pick([8, 16]),
      pipelineDegree: pick([1, 1, 2, 4]),
      tensorDegree: pick([1, 1, 2, 4]),
      tensorSplit: pick(["weights", "sequence"] as const),
      dataParallel: pick(["ddp", "zero1", "zero2", "zero3"] as const),
      recompute: random() < 0.5,
      gradientOrder: pick(["deferred", "canonical"] as const),
      precision: pick(PRECISIONS),
    });
    if (Number.isInteger(plan.layers[0]!.dataDegree) && verifyPlan(model, plan).length === 0) return plan;
  }
}

/** Bytes of every stage over what lives at once in the compiled Programs; data that the loader writes is not priced. */
function ratiosOf(model: ModelSpec, plan: Plan): number[] {
  const { programs } = compilePlan(model, plan);
  return equations(model, plan).map((bytes, stage) => {
    const peaks = programs.filter(({ rank }) => stageOfRank(plan, rank) === stage).map(peakMemory);
    return bytes / Math.max(...peaks.map(({ liveBytes, byCategory }) => liveBytes - byCategory.io));
  });
}

describe("memory of a stage with several micro-batches", () => {
  it.each(["deferred", "canonical"] as const)(
    "is near what lives at once in the %s order",
    (gradientOrder) => {
      const ratios: number[] = [];
      for (let seed = 0; seed < 24; seed++) {
        const model = modelSpec(...MODELS[seed % MODELS.length]!);
        const base = randomUniform(model, randomNumbers(seed));
        const microBatches = Math.min(4, base.globalBatch / base.layers[0]!.dataDegree);
        const plan = { ...base, microBatches, gradientOrder };
        for (const [stage, ratio] of ratiosOf(model, plan).entries()) {
          expect(ratio, `seed ${seed}, stage ${stage}`).toBeGreaterThan(0.95);
          ratios.push(ratio);
        }
      }
      ratios.sort((a, b) => a - b);
      expect(ratios[ratios.length >> 1]).toBeLessThan(1.07);
      expect(ratios.at(-1)).toBeLessThan(1.25);
    },
    60_000,
  );
});

describe("memory of a stage with one micro-batch", () => {
  it("is never below what lives at once in the compiled Programs, and near it", () => {
    const ratios: number[] = [];
    for (let seed = 0; seed < 24; seed++) {
      const model = modelSpec(...MODELS[seed % MODELS.length]!);
      const plan = randomUniform(model, randomNumbers(seed));
      for (const [stage, ratio] of ratiosOf(model, plan).entries()) {
        expect(ratio, `seed ${seed}, stage ${stage}`).toBeGreaterThan(0.999);
        ratios.push(ratio);
      }
    }
    ratios.sort((a, b) => a - b);
    expect(ratios[ratios.length >> 1]).toBeLessThan(1.07);
    expect(ratios.at(-1)).toBeLessThan(1.35);
  }, 60_000);
});
