import type { Program } from "../program/program.js";
import type { RankStep, WorkerPool } from "../runtime/coordinator/worker-pool.js";

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

/** A step with the times of its instructions. */
export type Timed = Pick<RankStep, "instructionsMs">;

/** When an instruction of a measured step began and ended, in ms from the start of its rank's step. */
export function startOf(step: Timed, instruction: number): number {
  return step.instructionsMs[2 * instruction]!;
}

export function endOf(step: Timed, instruction: number): number {
  return step.instructionsMs[2 * instruction + 1]!;
}
