import { GalvatronError } from "../base/errors.js";

/**
 * Batch-size ramp-up (McCandlish et al. 2018; GPT-3, Brown et al. 2020, section B): early gradients need fewer samples.
 * The global batch grows from `start` by `increment` up to the plan's, in equal shares of `samples`.
 */
export interface BatchRamp {
  /** Samples of the first steps. */
  readonly start: number;
  /** Samples that every later size has more than the one before. */
  readonly increment: number;
  /** Samples of the training after which the batch is the plan's. */
  readonly samples: number;
}

/** Steps of one batch size: those from `firstStep` on, until the next phase begins. */
export interface BatchPhase {
  readonly globalBatch: number;
  readonly firstStep: number;
  /** Samples that all steps before it take. */
  readonly firstSample: number;
}

/**
 * The sizes of the batch in order, the plan's own last; a phase ends with the step that fills its share. Without a ramp
 * there is one phase.
 *
 * @param microBatch - samples of a micro-batch, which stays the same: every size must be a multiple
 * @throws GalvatronError ARGUMENT_INVALID
 */
export function batchPhases(
  ramp: BatchRamp | null,
  globalBatch: number,
  microBatch: number,
): readonly BatchPhase[] {
  if (!ramp) return [{ globalBatch, firstStep: 0, firstSample: 0 }];
  requireRamp(ramp, globalBatch, microBatch);
  const sizes = (globalBatch - ramp.start) / ramp.increment;
  const phases: BatchPhase[] = [];
  let [firstStep, firstSample] = [0, 0];
  for (let size = 0; size < sizes; size++) {
    const phase = { globalBatch: ramp.start + size * ramp.increment, firstStep, firstSample };
    const until = Math.ceil(((size + 1) * ramp.samples) / sizes);
    const steps = Math.ceil((until - firstSample) / phase.globalBatch);
    // A share smaller than the step before it has overrun.
    if (steps <= 0) continue;
    phases.push(phase);
    firstStep += steps;
    firstSample += steps * phase.globalBatch;
  }
  return [...phases, { globalBatch, firstStep, firstSample }];
}

/** The phase that a step belongs to. */
export function phaseAt(phases: readonly BatchPhase[], step: number): BatchPhase {
  return phases.filter(({ firstStep }) => firstStep <= step).at(-1)!;
}

/** Place of a step's first sample in the training order: the samples of all steps before it. */
export function firstSampleOf(phases: readonly BatchPhase[], step: number): number {
  const { firstStep, firstSample, globalBatch } = phaseAt(phases, step);
  return firstSample + (step - firstStep) * globalBatch;
}

function requireRamp(
  { start, increment, samples }: BatchRamp,
  globalBatch: number,
  microBatch: number,
): void {
  const refuse = (expected: string): GalvatronError =>
    new GalvatronError(
      "ARGUMENT_INVALID",
      `rampUp: expected ${expected}; got start ${start}, increment ${increment}, samples ${samples} for a global batch of ${globalBatch} in micro-batches of ${microBatch}.`,
      { start, increment, samples, globalBatch, microBatch },
    );
  for (const value of [start, increment, samples])
    if (!Number.isSafeInteger(value) || value < 1) throw refuse("whole numbers of at least 1");
  if (start >= globalBatch) throw refuse("a start below the plan's global batch");
  if ((globalBatch - start) % increment !== 0)
    throw refuse("an increment that leads from start to the plan's global batch in whole steps");
  if (start % microBatch !== 0 || increment % microBatch !== 0)
    throw refuse("start and increment in whole micro-batches of the plan");
}
