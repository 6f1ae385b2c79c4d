import { GalvatronError } from "../base/errors.js";
import type { Evaluation } from "../program/step-record.js";
import { batchPhases } from "../runtime/batch-ramp.js";
import { evaluateStates } from "../runtime/coordinator/evaluate.js";
import { openWorkerPool, type PoolOptions } from "../runtime/coordinator/worker-pool.js";
import type { DataDescription } from "../runtime/data/data-description.js";
import { findData } from "../runtime/data/find-data.js";
import { heldOutOf } from "../runtime/data/held-out.js";
import { labelsOf } from "../runtime/data/objectives/objective.js";
import { optimizerFrom } from "../runtime/optimizer.js";
import type { FoundPlan } from "./find-plan.js";
import type { Session } from "./session.js";
import { loweredFor, prepared, requireWhole } from "./training-job.js";
import { type ExportSource, statesFrom } from "./weights.js";

/** What is evaluated, and on what. `checkpoint`, `weights` or `seed` say where the parameters come from. */
export interface EvaluationOptions extends ExportSource {
  /** Its held-out samples, or all of it where it holds nothing out. */
  readonly data: DataDescription;
  /** Samples at most; all when left out. */
  readonly samples?: number;
}

/**
 * The loss (and for classifiers the accuracy) of parameters on data, without training.
 *
 * @throws GalvatronError FILE_UNREADABLE, DATA_INVALID, ARGUMENT_INVALID, CHECKPOINT_INVALID
 */
export async function evaluatePlan(
  found: FoundPlan,
  pool: PoolOptions,
  options: EvaluationOptions,
  session: Session,
): Promise<Evaluation> {
  const { model } = found;
  const { samples: most = Number.MAX_SAFE_INTEGER } = options;
  requireWhole("samples", most, 1);
  if (options.seed !== undefined) requireWhole("seed", options.seed, 0);
  if (options.data.format === "synthetic" && options.samples === undefined)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      "Synthetic data has no end: say how many samples to evaluate on, such as { samples: 512 }.",
    );
  const { steps, ...states } = statesFrom(session, options, model);
  const data = findData(options.data, model, states.seed, session);
  const dataset = await prepared(data, session);
  const evaluation = { ...heldOutOf(dataset, dataset, most), every: 1 };
  const phases = batchPhases(null, found.report.plan.globalBatch, 1);
  const [lowered] = loweredFor(found, found.report.plan, phases, labelsOf(data.objective));
  const feed = { dataset, optimizer: optimizerFrom({}, 1), steps: 0, evaluation };
  const workers = await openWorkerPool(pool);
  try {
    return await evaluateStates(workers, { ...lowered!, ...states, feed, firstStep: 0 }, evaluation, steps);
  } finally {
    await workers.close();
  }
}
