import { GalvatronError } from "../base/errors.js";
import { type LearningRate, learningRateAt, SCHEDULES } from "./learning-rate.js";

/** AdamW with clipping by the global norm. Biases and norms are never decayed. */
export interface Optimizer {
  readonly learningRate: LearningRate;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest global gradient norm; 0 does not clip. */
  readonly maxNorm: number;
}

/** What a caller may leave out. A plain number as `learningRate` is a peak with the default warm-up and schedule. */
export type OptimizerOptions = Partial<Omit<Optimizer, "learningRate">> & {
  readonly learningRate?: number | Partial<LearningRate>;
};

/** Defaults suited to small models trained for hundreds of steps: warm-up over a tenth of them, then half a cosine. */
export function optimizerFrom(options: OptimizerOptions, steps: number): Optimizer {
  const rate =
    typeof options.learningRate === "number" ? { peak: options.learningRate } : options.learningRate;
  const optimizer: Optimizer = {
    learningRate: {
      peak: rate?.peak ?? 1e-3,
      warmupSteps: rate?.warmupSteps ?? Math.min(100, Math.ceil(steps / 10)),
      schedule: rate?.schedule ?? { kind: "cosine", floor: 0.1 },
    },
    beta1: options.beta1 ?? 0.9,
    beta2: options.beta2 ?? 0.95,
    epsilon: options.epsilon ?? 1e-8,
    weightDecay: options.weightDecay ?? 0.1,
    maxNorm: options.maxNorm ?? 1,
  };
  mustBeUsable(optimizer);
  return optimizer;
}

/** @throws GalvatronError ARGUMENT_INVALID that names the setting */
function mustBeUsable({ learningRate, ...rest }: Optimizer): void {
  const { peak, warmupSteps, schedule } = learningRate;
  const must = (name: string, value: unknown, holds: boolean, expected: string): void => {
    if (!holds)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        `Expected ${name} to be ${expected}, got ${String(value)}.`,
        {
          setting: name,
        },
      );
  };
  // As float32, which is what a step computes with.
  const notNegative = (name: string, value: number): void =>
    must(
      name,
      value,
      Number.isFinite(Math.fround(value)) && value >= 0,
      "a number from 0 on that float32 can hold",
    );
  const steps = (name: string, value: number): void =>
    must(name, value, Number.isSafeInteger(value) && value >= 0, "a whole number of steps");
  notNegative("learningRate.peak", peak);
  steps("learningRate.warmupSteps", warmupSteps);
  must("learningRate.schedule.kind", schedule.kind, SCHEDULES.includes(schedule.kind), SCHEDULES.join(", "));
  if ("floor" in schedule) {
    const { floor } = schedule;
    must(
      "learningRate.schedule.floor",
      floor,
      floor >= 0 && floor <= 1,
      "a share of the peak between 0 and 1",
    );
  }
  if ("decaySteps" in schedule) steps("learningRate.schedule.decaySteps", schedule.decaySteps);
  for (const name of ["beta1", "beta2"] as const)
    must(name, rest[name], rest[name] >= 0 && rest[name] < 1, "at least 0 and less than 1");
  must("epsilon", rest.epsilon, Math.fround(rest.epsilon) > 0, "a number above 0 that float32 can hold");
  for (const name of ["epsilon", "weightDecay", "maxNorm"] as const) notNegative(name, rest[name]);
}

/** Values of the `hyper` tensor for a step, in the order that `ProgramIo` tells. Steps count from 0. */
export function hyperValues(optimizer: Optimizer, step: number, steps: number): Float32Array {
  const { beta1, beta2, epsilon, weightDecay, maxNorm } = optimizer;
  return Float32Array.of(
    learningRateAt(optimizer.learningRate, step, steps),
    beta1,
    beta2,
    epsilon,
    weightDecay,
    1 - beta1 ** (step + 1),
    1 - beta2 ** (step + 1),
    maxNorm,
  );
}

/**
 * Values of the `hyper` tensor under which a step changes nothing but its loss: no rate, no decay, moments kept whole.
 * AdamW then computes p − 0 · m / d, 1 · m + 0 · g and 1 · v + 0 · g², which are p, m and v to the bit.
 */
export const KEEP_EVERYTHING: Float32Array = Float32Array.of(0, 1, 1, 1e-8, 0, 1, 1, 0);
