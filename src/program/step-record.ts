/** What one step of one rank came to. Rows of `run.table()`. */
export interface StepRecord {
  readonly step: number;
  readonly rank: number;
  /** The global batch of this step, which may grow at first. */
  readonly samples: number;
  /** Mean loss of the step over the global batch (the same on every rank's row). */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly stepMs: number;
  /** Over all ranks. */
  readonly tokensPerSecond: number;
  /** Resident memory of the rank's process as the operating system counts it (device memory in use on CUDA). */
  readonly memoryBytes: number;
  readonly peakMemoryBytes: number;
}

/** What a model made of samples that training never saw. */
export interface Evaluation {
  /** Training steps done before it. */
  readonly steps: number;
  readonly samples: number;
  /** Mean loss over the samples' labels. */
  readonly loss: number;
  /** Share of right answers; null for models whose answers are not counted. */
  readonly accuracy: number | null;
}
