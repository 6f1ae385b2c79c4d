import type { Overlap } from "../cluster/hardware-profile.js";
import type { Precision } from "../plan/plan.js";
import type { TensorSplit } from "../plan/strategy.js";
import type { ModelSpec } from "./model-spec.js";

/** Name under which the embedding and the head stand in a profile, beside the kinds of the body. */
export const EMBEDDING_KIND = "embedding";
export const HEAD_KIND = "head";

/**
 * Time and memory of one layer on one rank, for one share of the work. Collectives are not in it.
 *
 * Measured as the difference between runs that differ only in their layer count, or computed from shapes.
 */
export interface LayerSample {
  /** A kind of the model's body, `embedding` or `head`. */
  readonly kind: string;
  readonly tensorDegree: number;
  readonly tensorSplit: TensorSplit;
  /** Samples of one micro-batch on this rank. */
  readonly samples: number;
  readonly sequence: number;
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** What forward leaves for backward (the layer's input counted, its output not), on this rank. */
  readonly activationBytes: number;
  /** The layer's input alone: what stays of it under recompute. */
  readonly inputBytes: number;
  /** Parameters this rank holds of one layer under this split, before any ZeRO sharding, in elements. */
  readonly parameterElements: number;
  /** Memory inside one graph run that is neither input nor output (ONNX Runtime's arena), at most; on devices with all constants. */
  readonly workspaceBytes: number;
}

/** Bytes of device memory that a worker holds beside arena and workspace: libraries, kernels, sessions. */
export interface HeldWithGraphs {
  readonly graphs: number;
  readonly bytes: number;
  /** What the first communicator takes is among them. */
  readonly connected: boolean;
}

/** Each graph's session has handles of its own, so that a worker with more graphs holds more. */
export interface HeldByWorker {
  readonly few: HeldWithGraphs;
  /** The same as `few` where no split has more graphs. */
  readonly many: HeldWithGraphs;
}

/** How much faster layers run on a device that rests between them, for it is then below its power limit. */
export interface RestSample {
  /** Share of a step in which a rank computes. */
  readonly workShare: number;
  /** Of the time that a layer takes where the device never rests. */
  readonly timeFactor: number;
}

/** What the profiler learnt of one model on one machine. */
export interface ModelProfile {
  readonly model: ModelSpec;
  readonly precision: Precision;
  readonly device: string;
  readonly source: "measured" | "analytic";
  /** Only of measured devices. */
  readonly held?: HeldByWorker;
  /** Only of measured devices: beside this model's layers, in place of the machine's. */
  readonly overlap?: Overlap;
  /** Only of measured devices, by their work share, ascending. */
  readonly rest?: readonly RestSample[];
  /** Only of measured devices: how many times as long collectives between graphs take in a plan as by themselves (≥ 1). */
  readonly betweenGraphs?: number;
  readonly layers: readonly LayerSample[];
}
