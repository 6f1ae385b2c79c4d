/** How the learning rate goes from its peak after warm-up. */
export type LearningRateSchedule =
  | { readonly kind: "constant" }
  /** Straight down to `floor` × peak at the last step. */
  | { readonly kind: "linear"; readonly floor: number }
  /** Half a cosine down to `floor` × peak at the last step (Loshchilov & Hutter 2017). */
  | { readonly kind: "cosine"; readonly floor: number }
  /** Falls with the inverse square root of the step (Vaswani et al. 2017, section 5.3). */
  | { readonly kind: "inverseSquareRoot" }
  /** Warm-up, stable, then straight down to `floor` × peak over the last `decaySteps` (Hu et al. 2024, WSD). */
  | { readonly kind: "warmupStableDecay"; readonly decaySteps: number; readonly floor: number };

export const SCHEDULES: readonly LearningRateSchedule["kind"][] = [
  "constant",
  "linear",
  "cosine",
  "inverseSquareRoot",
  "warmupStableDecay",
];

/** The learning rate of every step: a warm-up to a peak, then a schedule. */
export interface LearningRate {
  readonly peak: number;
  /** Steps in which the rate rises straight from peak / warmupSteps to the peak. */
  readonly warmupSteps: number;
  readonly schedule: LearningRateSchedule;
}

/** Learning rate of a step: a pure function, so every rank and every resumed run agrees. Steps count from 0. */
export function learningRateAt(rate: LearningRate, step: number, steps: number): number {
  const { peak, warmupSteps, schedule } = rate;
  if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
  const after = step - warmupSteps;
  const span = Math.max(1, steps - 1 - warmupSteps);
  const progress = Math.min(1, after / span);
  switch (schedule.kind) {
    case "constant":
      return peak;
    case "linear":
      return peak * (1 - (1 - schedule.floor) * progress);
    case "cosine":
      return peak * (schedule.floor + (1 - schedule.floor) * 0.5 * (1 + Math.cos(Math.PI * progress)));
    case "inverseSquareRoot": {
      const offset = Math.max(1, warmupSteps);
      return peak * Math.sqrt(offset / (offset + after));
    }
    case "warmupStableDecay": {
      const decayStart = steps - schedule.decaySteps;
      if (step < decayStart) return peak;
      const fallen = Math.min(1, (step - decayStart + 1) / Math.max(1, schedule.decaySteps));
      return peak * (1 - (1 - schedule.floor) * fallen);
    }
  }
}
