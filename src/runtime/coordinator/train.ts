import { GalvatronError } from "../../base/errors.js";
import type { Program } from "../../program/program.js";
import type { StepRecord } from "../../program/step-record.js";
import type { Timeline } from "../../program/timeline.js";
import type { Feed } from "../wire.js";
import { measuredTimeline } from "./measured-timeline.js";
import { openWorkerPool, type PoolOptions, type RankStep, type WorkerPool } from "./worker-pool.js";

/** Steps granted beyond the last finished one, so that no rank waits for the coordinator. */
const STEPS_AHEAD = 2;

export interface TrainJob {
  readonly programs: readonly Program[];
  readonly graphs: ReadonlyMap<string, Uint8Array>;
  readonly seed: number;
  readonly feed: Feed;
  /** Tokens of the global batch. */
  readonly tokensPerStep: number;
  readonly firstStep: number;
}

/** What a training came to. */
export interface TrainReport {
  /** `finished` all its steps, or was `stopped` before. */
  readonly outcome: "finished" | "stopped";
  readonly steps: number;
  readonly records: readonly StepRecord[];
  /** The last step, as it was measured. */
  readonly timeline: Timeline | null;
}

/** A training under way. */
export interface Training {
  /** Rejects with WORKER_LOST, DEVICE_FAILED, … when it could not go on. */
  readonly done: Promise<TrainReport>;
  /** No step begins after those that are granted already; resolves `done` with what there is. */
  stop(): void;
  pause(): void;
  resume(): void;
  readonly pids: () => readonly number[];
}

/**
 * Starts ranks, trains, and ends them. With `pool`, uses those processes and leaves them open.
 *
 * @param onStep - every rank's record of a step, when all ranks have ended it
 */
export function startTraining(
  job: TrainJob,
  source: { readonly options: PoolOptions } | { readonly pool: WorkerPool },
  onStep: (records: readonly StepRecord[], timeline: Timeline) => void,
): Training {
  const records: StepRecord[] = [];
  const last = job.feed.steps;
  let pool: WorkerPool | null = null;
  let ended = job.firstStep;
  let granted = job.firstStep;
  let paused = false;
  let stopped = false;
  let timeline: Timeline | null = null;
  let advance: () => void = () => {};

  const train = async (): Promise<TrainReport> => {
    pool = "pool" in source ? source.pool : await openWorkerPool(source.options);
    try {
      if (!stopped) {
        await pool.load(job);
        await steps(pool);
      }
    } finally {
      if (!("pool" in source)) await pool.close();
    }
    return { outcome: ended < last ? "stopped" : "finished", steps: ended, records, timeline };
  };

  const steps = (workers: WorkerPool): Promise<void> =>
    new Promise((resolve, reject) => {
      const byStep = new Map<number, RankStep[]>();
      advance = () => {
        const until = paused || stopped ? granted : Math.min(last, ended + STEPS_AHEAD);
        if (until > granted) {
          granted = until;
          workers.advance(granted);
        }
        if (ended >= last || (stopped && ended >= granted)) resolve();
      };
      workers.listen((step) => {
        const ranks = byStep.get(step.step) ?? [];
        ranks[step.rank] = step;
        byStep.set(step.step, ranks);
        if (Object.keys(ranks).length < job.programs.length) return;
        byStep.delete(step.step);
        ended = step.step + 1;
        const rows = stepRecords(ranks, job.tokensPerStep);
        records.push(...rows);
        timeline = measuredTimeline(job.programs, ranks);
        const { loss } = rows[0]!;
        onStep(rows, timeline);
        if (!Number.isFinite(loss))
          workers.abort(
            new GalvatronError(
              "DEVICE_FAILED",
              `The loss became ${loss} at step ${step.step}. Try a lower learning rate or clipping (maxNorm: 1).`,
              { step: step.step },
            ),
          );
        else advance();
      }, reject);
      advance();
    });

  return {
    done: train(),
    stop: () => {
      stopped = true;
      advance();
    },
    pause: () => {
      paused = true;
    },
    resume: () => {
      paused = false;
      advance();
    },
    pids: () => pool?.pids ?? [],
  };
}

/** The ranks' shares sum to the loss; the slowest rank is the step. */
function stepRecords(ranks: readonly RankStep[], tokensPerStep: number): readonly StepRecord[] {
  const loss = ranks.reduce((sum, rank) => sum + rank.loss, 0);
  const wallMs = Math.max(...ranks.map((rank) => rank.wallMs));
  return ranks.map((rank) => ({
    step: rank.step,
    rank: rank.rank,
    loss,
    gradientNorm: rank.gradientNorm,
    learningRate: rank.learningRate,
    stepMs: rank.stepMs,
    tokensPerSecond: (1000 * tokensPerStep) / wallMs,
    memoryBytes: rank.memory.residentBytes,
    peakMemoryBytes: rank.memory.peakBytes,
  }));
}
