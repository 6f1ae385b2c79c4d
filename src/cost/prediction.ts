/** Where a stage's step time goes, in ms per step. They sum to the plan's `stepMs`. */
export interface StageTime {
  readonly computeMs: number;
  readonly recomputeMs: number;
  /** Tensor and sequence collectives. */
  readonly tensorMs: number;
  /** ZeRO gathers and gradient reductions, less what overlap hides. */
  readonly dataMs: number;
  /** Layout changes between layers. */
  readonly relayoutMs: number;
  /** Pipeline transfers that are not hidden. */
  readonly pipelineMs: number;
  /** The norm of all gradients over all ranks, and the update. */
  readonly optimizerMs: number;
  /** Waiting for other stages. */
  readonly bubbleMs: number;
}

/** What fills a stage's fullest rank at its peak, in bytes. */
export interface StageMemory {
  readonly parameterBytes: number;
  readonly gradientBytes: number;
  readonly optimizerBytes: number;
  readonly activationBytes: number;
  readonly transientBytes: number;
  /** ONNX Runtime's own arena. */
  readonly workspaceBytes: number;
  /** What a worker holds before any model is loaded. */
  readonly reservedBytes: number;
  readonly totalBytes: number;
}

/** What a plan will cost: made before it runs, kept beside it, compared with what it then does. */
export interface Prediction {
  readonly stepMs: number;
  readonly samplesPerSecond: number;
  readonly stages: readonly { readonly time: StageTime; readonly memory: StageMemory }[];
}
