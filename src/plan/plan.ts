import type { Strategy } from "./strategy.js";

/** Order of micro-batches in a pipeline: all forward passes first (GPipe, Huang et al. 2019), or one forward, one backward (PipeDream-Flush, Narayanan et al. 2021). */
export type Schedule = "gpipe" | "1f1b";

/**
 * Arithmetic of a run. `bfloat16` computes in bfloat16 with float32 master weights, moments and loss; gradients leave
 * backward and are reduced in float32. `bfloat16-gradients`: they leave backward and are reduced in bfloat16, as under
 * FSDP2's mixed precision; those of several micro-batches are still added up in float32.
 */
export type Precision = "float32" | "bfloat16" | "bfloat16-gradients";

/**
 * Order in which a gradient's contributions are added up. `deferred`: each rank adds up its own micro-batches, the
 * sums are reduced when that is cheapest (ddp, ZeRO-1: once a step). `canonical`: in the order of the samples,
 * whoever holds them, so that plans that differ only in data parallel, ZeRO, stages and recompute give the same bits;
 * reduce-scatters after every micro-batch, and ddp gathers the sums once a step. Either repeats itself bit for bit.
 */
export type GradientOrder = "deferred" | "canonical";

/**
 * A complete decision: what every rank holds and does in one training step. Plain data, nothing else decides.
 *
 * Ranks are numbered stage-major: stage `s` of `p` equal stages holds ranks `[s * ranks / p, (s + 1) * ranks / p)`.
 */
export interface Plan {
  readonly ranks: number;
  /** Samples per optimizer step, over all ranks. */
  readonly globalBatch: number;
  /** Micro-batches per step. A rank of a layer with data degree d sees `globalBatch / microBatches / d` samples at a time. */
  readonly microBatches: number;
  readonly schedule: Schedule;
  readonly precision: Precision;
  /** `deferred` when left out; a session completes a plan made by hand with what its machine does by itself. */
  readonly gradientOrder?: GradientOrder;
  /** Layers of each stage, in order; its length is the pipeline degree, its sum `layers.length`. */
  readonly stageLayers: readonly number[];
  /** One strategy per layer of the model's body (embedding and head not counted). */
  readonly layers: readonly Strategy[];
  /**
   * Embedding (on the first stage) and head (on the last): vocabulary-parallel over `tensorDegree` when its split is
   * `weights`, whole weights over a cut sequence when it is `sequence`.
   */
  readonly vocabulary: Strategy;
}
