import type { ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { type BatchRamp, batchPhases } from "../../src/runtime/batch-ramp.js";
import { readManifest } from "../../src/runtime/checkpoint/checkpoint-folder.js";
import { compileRamp, trainPhases } from "../../src/runtime/compile-ramp.js";
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
  readonly rampUp?: BatchRamp;
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
  const { rampUp } = settings;
  const phases = batchPhases(rampUp ?? null, plan.globalBatch, plan.globalBatch / plan.microBatches);
  const compiled = compileRamp(model, plan, phases, model.sequence, {});
  const optimizer = optimizerFrom(settings.optimizer ?? {}, steps);
  const resumed = from === undefined ? null : readManifest(from);
  const written = originOf(model, plan);
  const origin = {
    ...written,
    data: { ...written.data, ...(rampUp && { rampUp }) },
    seed,
    steps,
    optimizer,
  };
  const training = startTraining(
    {
      ...trainPhases(model, phases, compiled),
      seed,
      firstStep: resumed?.step ?? 0,
      feed: {
        optimizer,
        dataset: syntheticDataset(model, seed),
        steps,
        ...(rampUp && { phases }),
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
