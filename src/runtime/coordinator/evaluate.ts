import type { Evaluation } from "../../program/step-record.js";
import type { EvaluationFeed, EvaluationShare } from "../wire.js";
import type { PoolJob, WorkerPool } from "./worker-pool.js";

/** An evaluation from the shares of all ranks. */
export function sumOfShares(
  shares: readonly EvaluationShare[],
  of: Pick<Evaluation, "steps" | "samples">,
): Evaluation {
  const counted = shares.flatMap(({ accuracy }) => accuracy ?? []);
  return {
    ...of,
    loss: shares.reduce((sum, share) => sum + share.loss, 0),
    accuracy: counted.length > 0 ? counted.reduce((sum, share) => sum + share, 0) : null,
  };
}

/**
 * Loads states and evaluates them, without a step of training.
 *
 * @param steps - that the states were trained
 */
export async function evaluateStates(
  pool: WorkerPool,
  job: PoolJob,
  { samples }: EvaluationFeed,
  steps: number,
): Promise<Evaluation> {
  await pool.load(job);
  const shares = await Promise.all(job.programs.map(({ rank }) => pool.evaluate(rank)));
  return sumOfShares(shares, { steps, samples });
}
