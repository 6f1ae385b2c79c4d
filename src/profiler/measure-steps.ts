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

/** When an instruction of a measured step began and ended, in ms from the start of its rank's step. */
export function startOf(step: RankStep, instruction: number): number {
  return step.instructionsMs[2 * instruction]!;
}

export function endOf(step: RankStep, instruction: number): number {
  return step.instructionsMs[2 * instruction + 1]!;
}
