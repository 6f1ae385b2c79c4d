/**
 * How the states of a layer are kept over its data-parallel ranks.
 * - `ddp`: every rank holds parameters, gradients and optimizer state; gradients are all-reduced.
 * - `zero1`: optimizer state is sharded; gradients are reduce-scattered once a step. Each rank updates
 *   its share of the parameters, and the others' are all-gathered once a step, before the first forward.
 * - `zero2`: gradients are sharded too: reduce-scattered after every micro-batch.
 * - `zero3`: parameters are held as shards alone: all-gathered before every forward and again before backward.
 *
 * Rajbhandari et al., "ZeRO" (2020), section 5.
 */
export type DataParallel = "ddp" | "zero1" | "zero2" | "zero3";

/**
 * What a tensor group splits.
 * - `weights`: attention heads and feed-forward columns, with Megatron sequence parallelism: between the
 *   parallel regions the activation is cut along the sequence (Korthikanti et al. 2022).
 * - `sequence`: the sequence, with whole weights on every rank and an all-to-all around attention
 *   (Ulysses, Jacobs et al. 2023).
 *
 * Either way, the activation at a layer's border is cut along the sequence over the tensor group and along the
 * batch over the data-parallel ranks, so that two layers of equal degrees need no layout change between them.
 */
export type TensorSplit = "weights" | "sequence";

/**
 * Where the tensor group lies in the stage's ranks: `consecutive` ranks (fast links for tensor collectives), or
 * `strided` (fast links for data collectives).
 */
export type Placement = "consecutive" | "strided";

/** How one layer is spread over the ranks of its stage. `tensorDegree * dataDegree` = ranks of the stage. */
export interface Strategy {
  readonly tensorDegree: number;
  /** `weights` where `tensorDegree` is 1. */
  readonly tensorSplit: TensorSplit;
  readonly dataDegree: number;
  /** `ddp` where there is only one rank to shard over. */
  readonly dataParallel: DataParallel;
  /** Keep only the layer's input and run its forward again before its backward. */
  readonly recompute: boolean;
  /** `consecutive` where `tensorDegree` is 1 or `dataDegree` is 1. */
  readonly placement: Placement;
}
