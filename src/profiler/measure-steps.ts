import type { Program } from "../program/program.js";
import type { RankStep, WorkerPool } from "../runtime/coordinator/worker-pool.js";
import { median } from "./median.js";

export interface MeasureOptions {
  readonly warmup: number;
  readonly repeats: number;
}

/**
 * Loads Programs that need no data and runs them: `[step][rank]`, without the steps that warmed up.
 * Values of tensors are zeros; times do not depend on them.
 */
export async function measureSteps(
  pool: WorkerPool,
  programs: readonly Program[],
  graphs: ReadonlyMap<string, Uint8Array>,
  options: MeasureOptions,
): Promise<readonly (readonly RankStep[])[]> {
  await pool.load({ programs, graphs, seed: null, feed: null, firstStep: 0 });
  const steps = await pool.run(options.warmup + options.repeats);
  return steps.slice(options.warmup);
}

/**
 * A device whose power is capped is at its fastest for tenths of a second, then swings about its lasting speed with a
 * period of about a second (H100: 262 to 280 ms a step). So much is run, the first third does not count, and the mean
 * of the rest does.
 */
const SUSTAINED_MS = 1500;
const MOST_STEPS = 200;

/** Steps at a device's lasting speed, of the Programs that are loaded: `[step][rank]`. */
export async function lastingSteps(
  pool: WorkerPool,
  options: MeasureOptions,
): Promise<readonly (readonly RankStep[])[]> {
  const first = (await pool.run(options.warmup + options.repeats)).slice(options.warmup);
  const tookMs = first.reduce((sum, ranks) => sum + Math.max(...ranks.map((step) => step.stepMs)), 0);
  const wanted = Math.ceil((SUSTAINED_MS * options.repeats) / tookMs);
  const count = Math.min(MOST_STEPS, Math.max(options.repeats, wanted));
  return (await pool.run(count)).slice(-Math.ceil((2 * count) / 3));
}

/** Longer than this between two instructions of a device is no gap but a wait. */
const MOST_GAP_MS = 0.02;

/** What passes on a device between an instruction and the next one, which belongs to the first. */
export function gapMs(step: Timed, instruction: number, next: number): number {
  return Math.min(MOST_GAP_MS, Math.max(0, startOf(step, next) - endOf(step, instruction)));
}

/**
 * What some instructions of a step take where ranks work in groups: within a group each waits for its slowest rank, so the
 * slowest of each counts; groups wait for each other at the end of the step, so the slowest group does. The mean over steps.
 *
 * @param instructions - places that are alike on all ranks
 * @param groupRanks - ranks of a group, consecutive
 */
export function slowestMs(
  steps: readonly (readonly Timed[])[],
  instructions: readonly number[],
  groupRanks: number,
): number {
  const took = (step: Timed, index: number): number => {
    const isLast = 2 * index + 2 >= step.instructionsMs.length;
    return endOf(step, index) - startOf(step, index) + (isLast ? 0 : gapMs(step, index, index + 1));
  };
  let totalMs = 0;
  for (const ranks of steps) {
    let slowest = 0;
    for (let first = 0; first < ranks.length; first += groupRanks) {
      const group = ranks.slice(first, first + groupRanks);
      const inGroup = instructions.reduce(
        (sum, index) => sum + Math.max(...group.map((step) => took(step, index))),
        0,
      );
      slowest = Math.max(slowest, inGroup);
    }
    totalMs += slowest;
  }
  return totalMs / steps.length;
}

/** The same on a host, where others disturb: the median over steps. */
export function usualMs(
  steps: readonly (readonly Timed[])[],
  instructions: readonly number[],
  groupRanks: number,
): number {
  return median(steps.map((ranks) => slowestMs([ranks], instructions, groupRanks)));
}

/** A step with the times of its instructions. */
export type Timed = Pick<RankStep, "instructionsMs">;

/** When an instruction of a measured step began and ended, in ms from the start of its rank's step. */
export function startOf(step: Timed, instruction: number): number {
  return step.instructionsMs[2 * instruction]!;
}

export function endOf(step: Timed, instruction: number): number {
  return step.instructionsMs[2 * instruction + 1]!;
}
