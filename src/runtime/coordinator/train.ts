import { GalvatronError, isGalvatronError } from "../../base/errors.js";
import type { Program } from "../../program/program.js";
import type { Evaluation, StepRecord } from "../../program/step-record.js";
import type { Timeline } from "../../program/timeline.js";
import type { StoredWeights } from "../weights/weight-folder.js";
import type { Feed } from "../wire.js";
import { type CheckpointJob, openSaver, type SavedCheckpoint } from "./checkpoint-saver.js";
import { sumOfShares } from "./evaluate.js";
import { type ExportJob, exportWeights } from "./export-weights.js";
import { measuredTimeline } from "./measured-timeline.js";
import { stepLoss } from "./step-loss.js";
import {
  openWorkerPool,
  type PoolOptions,
  type RankStep,
  type StoredCheckpoint,
  type WorkerPool,
} from "./worker-pool.js";

/** Steps granted beyond the last finished one, so that no rank waits for the coordinator. */
const STEPS_AHEAD = 2;

/** Programs and what one step of them takes. */
export interface TrainPhase {
  readonly programs: readonly Program[];
  readonly graphs: ReadonlyMap<string, Uint8Array>;
  /** Tokens of the global batch. */
  readonly tokensPerStep: number;
}

export interface TrainJob extends TrainPhase {
  /** Smaller batches that come first, each until its last step has ended; the job's own Programs go on from there. */
  readonly rampUp?: readonly (TrainPhase & { readonly endStep: number })[];
  readonly seed: number;
  readonly feed: Feed;
  readonly firstStep: number;
  /** Where the states come from instead of the seed. */
  readonly restore?: StoredCheckpoint;
  /** Parameters to start from instead of the seed's. */
  readonly weights?: StoredWeights;
  readonly checkpoints?: CheckpointJob;
  /** Where the weights go when the training has ended. */
  readonly exports?: ExportJob;
}

/** What a training came to. */
export interface TrainReport {
  /** `finished` all its steps, or was `stopped` before. */
  readonly outcome: "finished" | "stopped";
  readonly steps: number;
  readonly records: readonly StepRecord[];
  readonly checkpoints: readonly SavedCheckpoint[];
  readonly evaluations: readonly Evaluation[];
  /** The last step, as it was measured. */
  readonly timeline: Timeline | null;
}

/** A training under way. */
export interface Training {
  /** Rejects with WORKER_LOST, DEVICE_FAILED, … when it could not go on. */
  readonly done: Promise<TrainReport>;
  /**
   * No step begins after those that are granted already; resolves `done` with what there is.
   *
   * @param save - a last checkpoint where the job has a folder for it
   */
  stop(save?: boolean): void;
  pause(): void;
  resume(): void;
  readonly checkpoints: () => readonly SavedCheckpoint[];
  readonly pids: () => readonly number[];
}

/** Every rank's record of a step, when all ranks have ended it, and the evaluation that followed it. */
export type OnStep = (
  records: readonly StepRecord[],
  timeline: Timeline,
  evaluation: Evaluation | null,
) => void;

/**
 * Starts ranks, trains, and ends them. With `pool`, uses those processes and leaves them open.
 */
export function startTraining(
  job: TrainJob,
  source: { readonly options: PoolOptions } | { readonly pool: WorkerPool },
  onStep: OnStep,
): Training {
  const records: StepRecord[] = [];
  const saves: SavedCheckpoint[] = [];
  const evaluations: Evaluation[] = [];
  const last = job.feed.steps;
  let pool: WorkerPool | null = null;
  let ended = job.firstStep;
  let granted = job.firstStep;
  let paused = false;
  let stopped = false;
  let savesAtStop = false;
  let timeline: Timeline | null = null;
  let savedAt = job.firstStep;
  let endedMs = 0;
  let advance: () => void = () => {};

  const train = async (): Promise<TrainReport> => {
    pool = "pool" in source ? source.pool : await openWorkerPool(source.options);
    try {
      const { programs, graphs, tokensPerStep } = job;
      const phases = [...(job.rampUp ?? []), { programs, graphs, tokensPerStep, endStep: last }];
      let loaded: TrainPhase | null = null;
      // Only at first: later the checkpoint may be gone.
      const { restore, weights } = job;
      const start = { ...(restore && { restore }), ...(weights && { weights }) };
      for (const phase of phases) {
        // Stopped between two phases, the next one saves what is still to be saved.
        if (stopped && !(savesAtStop && ended > savedAt)) break;
        // A phase may lie before what is resumed, or beyond the training's end.
        const endStep = Math.min(phase.endStep, last);
        if (endStep <= ended) continue;
        const { seed, feed } = job;
        await pool.load({ ...phase, seed, feed, firstStep: ended, ...(loaded ? { goesOn: true } : start) });
        loaded = phase;
        await steps(pool, phase, endStep);
      }
      if (loaded && job.exports) await exportWeights(pool, loaded.programs, job.exports);
    } finally {
      if (!("pool" in source)) await pool.close();
    }
    return {
      outcome: ended < last ? "stopped" : "finished",
      steps: ended,
      records,
      evaluations,
      checkpoints: saves,
      timeline,
    };
  };

  const steps = (workers: WorkerPool, phase: TrainPhase, endStep: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const byStep = new Map<number, RankStep[]>();
      // The pool's own failure comes to `reject` by itself, when its processes are gone.
      const onFailure = (error: unknown): void => workers.abort(asFailure(error));
      const saver = job.checkpoints
        ? openSaver(workers, phase.programs, job.checkpoints, {
            onSaved: (saved) => saves.push(saved),
            onFailure,
          })
        : null;
      let busy = false;
      /** Nothing is granted while ranks copy their states or the last of them is written. */
      const hold = (work: Promise<void>, after: () => void): void => {
        busy = true;
        work.then(() => {
          busy = false;
          after();
        }, onFailure);
      };
      const save = (step: number): void => {
        savedAt = step;
        hold(
          saver!.save(step, () => endedMs),
          advance,
        );
      };
      advance = () => {
        if (busy) return;
        const due = saver ? Math.min(last, saver.nextAfter(savedAt)) : last;
        const until = paused || stopped ? granted : Math.min(due, endStep, ended + STEPS_AHEAD);
        if (until > granted) {
          granted = until;
          workers.advance(granted);
          if (saver && granted === due) save(granted);
        } else if (ended >= endStep || (stopped && ended >= granted)) {
          if (saver && stopped && savesAtStop && ended > savedAt) save(ended);
          else
            hold(saver?.idle() ?? Promise.resolve(), () => {
              // Stopped from now on, the next phase's saver saves: this one knows the tensors of its own Programs.
              advance = () => {};
              resolve();
            });
        }
      };
      workers.listen((step) => {
        const ranks = byStep.get(step.step) ?? [];
        ranks[step.rank] = step;
        byStep.set(step.step, ranks);
        if (Object.keys(ranks).length < phase.programs.length) return;
        byStep.delete(step.step);
        ended = step.step + 1;
        endedMs = performance.now();
        const rows = stepRecords(phase, ranks);
        records.push(...rows);
        timeline = measuredTimeline(phase.programs, ranks);
        const evaluation = evaluationOf(ranks, job.feed);
        if (evaluation) evaluations.push(evaluation);
        onStep(rows, timeline, evaluation);
        const problem = brokenStep(rows[0]!);
        if (problem) workers.abort(problem);
        else advance();
      }, reject);
      advance();
    });

  return {
    done: train(),
    stop: (save = false) => {
      stopped = true;
      savesAtStop = save;
      advance();
    },
    pause: () => {
      paused = true;
    },
    resume: () => {
      paused = false;
      advance();
    },
    checkpoints: () => saves,
    pids: () => pool?.pids ?? [],
  };
}

/** After a step without a finite loss and norm there are no weights left to train, or to save. */
function brokenStep({ step, loss, gradientNorm }: StepRecord): GalvatronError | null {
  const [what, value] = Number.isFinite(loss) ? ["gradient norm", gradientNorm] : ["loss", loss];
  if (Number.isFinite(value)) return null;
  return new GalvatronError(
    "DEVICE_FAILED",
    `The ${what} became ${value} at step ${step}. Try a lower learning rate or clipping (maxNorm: 1).`,
    { step },
  );
}

function asFailure(error: unknown): GalvatronError {
  if (isGalvatronError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new GalvatronError("DEVICE_FAILED", `Saving a checkpoint failed: ${message}`, {}, { cause: error });
}

function evaluationOf(ranks: readonly RankStep[], { evaluation }: Feed): Evaluation | null {
  const shares = ranks.flatMap((rank) => rank.evaluation ?? []);
  if (!evaluation || shares.length === 0) return null;
  return sumOfShares(shares, { steps: ranks[0]!.step + 1, samples: evaluation.samples });
}

/** The slowest rank is the step. */
function stepRecords(
  { programs, tokensPerStep }: TrainPhase,
  ranks: readonly RankStep[],
): readonly StepRecord[] {
  const { plan } = programs[0]!;
  const loss = stepLoss(plan, ranks);
  const wallMs = Math.max(...ranks.map((rank) => rank.wallMs));
  return ranks.map((rank) => ({
    step: rank.step,
    rank: rank.rank,
    samples: plan.globalBatch,
    loss,
    gradientNorm: rank.gradientNorm,
    learningRate: rank.learningRate,
    stepMs: rank.stepMs,
    tokensPerSecond: (1000 * tokensPerStep) / wallMs,
    memoryBytes: rank.memory.residentBytes,
    peakMemoryBytes: rank.memory.peakBytes,
  }));
}
