import { GalvatronError } from "../base/errors.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan, Precision } from "./plan.js";
import type { DataParallel, Strategy, TensorSplit } from "./strategy.js";
import { canonicalStrategy } from "./uniform.js";
import { verifyPlan } from "./verify-plan.js";

export interface DrawPlanOptions {
  readonly ranks: number;
  readonly globalBatch: number;
  /** `float32` when left out. */
  readonly precision?: Precision;
}

/** A whole number from 0 up to, not including, `count`: seeded randomness, as the caller has it. */
export type Pick = (count: number) => number;

/** How many outer choices are tried before giving up: most are valid, so this is never reached by chance. */
const ATTEMPTS = 200;

/**
 * A random valid plan over the whole space: stages and their sizes, micro-batches, schedule, and a strategy drawn
 * anew for the vocabulary and for every layer.
 *
 * @throws {GalvatronError} PLAN_INVALID when no valid plan was found for these ranks and this batch.
 */
export function drawPlan(model: ModelSpec, options: DrawPlanOptions, pick: Pick): Plan {
  const { ranks, globalBatch } = options;
  const oneOf = <T>(choices: readonly T[]): T => choices[pick(choices.length)]!;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const stages = oneOf(divisors(ranks).filter((count) => count <= model.layers.length));
    const base = {
      ranks,
      globalBatch,
      microBatches: oneOf(divisors(globalBatch)),
      schedule: oneOf(["gpipe", "1f1b"] as const),
      precision: options.precision ?? "float32",
      stageLayers: drawStages(model.layers.length, stages, pick),
    };
    const strategies = allStrategies(ranks / stages);
    const valid = new Map<string, readonly Strategy[]>();
    const validFor = (kind: string): readonly Strategy[] => {
      const known = valid.get(kind);
      if (known !== undefined) return known;
      const only = { ...model, layers: [kind] };
      const found = strategies.filter((strategy) => {
        const plan = { ...base, stageLayers: [1], ranks: ranks / stages, layers: [strategy] };
        return verifyPlan(only, { ...plan, vocabulary: strategies[0]! }).every((problem) =>
          problem.startsWith("vocabulary"),
        );
      });
      valid.set(kind, found);
      return found;
    };
    if (model.layers.some((kind) => validFor(kind).length === 0)) continue;
    const layers = model.layers.map((kind) => oneOf(validFor(kind)));
    const vocabularies = strategies.filter(
      (vocabulary) => verifyPlan(model, { ...base, layers, vocabulary }).length === 0,
    );
    if (vocabularies.length === 0) continue;
    return { ...base, layers, vocabulary: oneOf(vocabularies) };
  }
  throw new GalvatronError(
    "PLAN_INVALID",
    `Found no valid plan of ${model.name} for ${ranks} ranks and a global batch of ${globalBatch}; ` +
      "choose a batch and sizes with more divisors.",
    { ranks, globalBatch, attempts: ATTEMPTS },
  );
}

/** Every canonical strategy for a stage of so many ranks, in a fixed order. */
export function allStrategies(stageRanks: number): readonly Strategy[] {
  const splits: readonly TensorSplit[] = ["weights", "sequence"];
  const modes: readonly DataParallel[] = ["ddp", "zero1", "zero2", "zero3"];
  const found = new Map<string, Strategy>();
  for (const tensorDegree of divisors(stageRanks)) {
    for (const tensorSplit of splits) {
      for (const dataParallel of modes) {
        for (const placement of ["consecutive", "strided"] as const) {
          for (const recompute of [false, true]) {
            const strategy = canonicalStrategy({
              tensorDegree,
              tensorSplit,
              dataDegree: stageRanks / tensorDegree,
              dataParallel,
              recompute,
              placement,
            });
            found.set(JSON.stringify(strategy), strategy);
          }
        }
      }
    }
  }
  return [...found.values()];
}

/** Layers of each stage: at least one each. */
function drawStages(layers: number, stages: number, pick: Pick): readonly number[] {
  const sizes = Array.from({ length: stages }, () => 1);
  for (let layer = stages; layer < layers; layer++) {
    const stage = pick(stages);
    sizes[stage] = sizes[stage]! + 1;
  }
  return sizes;
}

function divisors(value: number): readonly number[] {
  return Array.from({ length: value }, (_, index) => index + 1).filter((one) => value % one === 0);
}
