import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { readManifest } from "../../src/runtime/checkpoint/checkpoint-folder.js";
import { compilePlan } from "../../src/runtime/compile-plan.js";
import type { CheckpointJob } from "../../src/runtime/coordinator/checkpoint-saver.js";
import { startTraining, type Training, type TrainReport } from "../../src/runtime/coordinator/train.js";
import type { WorkerPool } from "../../src/runtime/coordinator/worker-pool.js";
import { syntheticDataset } from "../../src/runtime/data/find-data.js";
import { type OptimizerOptions, optimizerFrom } from "../../src/runtime/optimizer.js";
import { originOf } from "./checkpoints.js";

export interface TrainSettings {
  readonly steps: number;
  readonly seed?: number;
  readonly optimizer?: OptimizerOptions;
  /** Goes on from this checkpoint. */
  readonly from?: string;
  readonly checkpoints?: Partial<CheckpointJob> & { readonly folder: string };
  readonly onStep?: (step: number, training: Training) => void;
}

/** Trains a plan on synthetic data in the processes of a pool. */
export function trainPlan(
  pool: WorkerPool,
  model: ModelSpec,
  plan: Plan,
  settings: TrainSettings,
): Promise<TrainReport> {
  const { steps, seed = 0, from, checkpoints } = settings;
  const { programs, graphs } = compilePlan(model, plan);
  const optimizer = optimizerFrom(settings.optimizer ?? {}, steps);
  const resumed = from === undefined ? null : readManifest(from);
  const origin = { ...originOf(model, plan), seed, steps, optimizer };
  const training = startTraining(
    {
      programs,
      graphs,
      seed,
      firstStep: resumed?.step ?? 0,
      tokensPerStep: plan.globalBatch * model.sequence,
      feed: {
        optimizer,
        dataset: syntheticDataset(model, seed),
        steps,
      },
      ...(from !== undefined && resumed && { restore: { path: from, files: resumed.files } }),
      ...(checkpoints && {
        checkpoints: { every: null, keep: null, copyBytes: 2 ** 16, origin, ...checkpoints },
      }),
    },
    { pool },
    (records) => settings.onStep?.(records[0]!.step, training),
  );
  return training.done;
}

/** The loss of every step. */
export function lossesOf(report: TrainReport): readonly number[] {
  return report.records.filter((record) => record.rank === 0).map((record) => record.loss);
}
