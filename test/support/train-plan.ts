import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import { startTraining, type TrainReport } from "../../src/runtime/coordinator/train.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { type OptimizerOptions, optimizerFrom } from "../../src/runtime/optimizer.js";

export interface TrainSettings {
  readonly steps: number;
  readonly seed?: number;
  readonly optimizer?: OptimizerOptions;
}

/** Trains a plan on synthetic data in the processes of a pool. */
export function trainPlan(
  pool: WorkerPool,
  model: ModelSpec,
  plan: Plan,
  settings: TrainSettings,
): Promise<TrainReport> {
  const { steps, seed = 0, optimizer = {} } = settings;
  const { programs, graphs } = compilePlan(model, plan);
  return startTraining(
    {
      programs,
      graphs,
      seed,
      firstStep: 0,
      tokensPerStep: plan.globalBatch * model.sequence,
      feed: {
        dataset: { format: "synthetic", vocabulary: model.vocabulary, sequence: model.sequence, seed },
        optimizer: optimizerFrom(optimizer, steps),
        steps,
      },
    },
    { pool },
    () => {},
  ).done;
}

/** The loss of every step. */
export function lossesOf(report: TrainReport): readonly number[] {
  return report.records.filter((record) => record.rank === 0).map((record) => record.loss);
}
