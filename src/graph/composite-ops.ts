import type { CompositeOp } from "./ir.js";
import { ACTIVATION_OPS } from "./ops/activation-ops.js";
import { ATTENTION_OPS } from "./ops/attention-ops.js";
import { CROSS_ENTROPY_OPS } from "./ops/cross-entropy-ops.js";
import { DROPOUT_OPS } from "./ops/dropout-ops.js";
import { EMBEDDING_OPS } from "./ops/embedding-ops.js";
import { LINEAR_OPS } from "./ops/linear-ops.js";
import { NORMALIZATION_OPS } from "./ops/normalization-ops.js";
import type { OpDefinition } from "./ops/op-definition.js";

/** ONNX domain of the composite ops where a device has kernels of its own for them; version 1. */
export const CUSTOM_OP_DOMAIN = "galvatron";

/**
 * Composite ops, by the names and ports under which they are emitted as nodes of {@link CUSTOM_OP_DOMAIN}
 * (`customOps: true`), or in the decomposition below each definition (`customOps: false`).
 *
 * T is the compute type (float32, bfloat16; float64 decomposed only), f32 is float32 (float64 where T is).
 * Shapes are static and contiguous; activations are sequence-first. `[..]` stands for any leading axes. A trailing
 * output that nobody reads has an empty name and need not be written; `?` marks an optional input (empty name).
 * Attributes: `float`, `int` (booleans are 0 or 1) or `string`. Ops that make gradients of parameters may have the
 * attribute `narrow`: then these are T instead of f32 (marked P), and the node's name ends in "Narrow".
 *
 * | op | inputs | outputs | attributes | meaning |
 * | --- | --- | --- | --- | --- |
 * | Linear | x T[..,K], weight T[N,K], bias? T[N], addend? T[..,N] | y T[..,N] | | y = x · weightᵀ + bias + addend |
 * | LinearInputGradient | dy T[..,N], weight T[N,K], addend? T[..,K] | dx T[..,K] | | dx = dy · weight + addend |
 * | WeightGradient | dy T[..,N], x T[..,K] | dweight P[N,K] | | dweight = dyᵀ · x over all leading axes |
 * | ColumnSum | x T[..,N] | y P[N] | | sum over all leading axes (bias gradient) |
 * | LayerNormalization | x T[..,H], scale T[H], shift T[H] | y T[..,H], mean f32[..,1], inverseDeviation f32[..,1] | epsilon float | over the last axis |
 * | LayerNormalizationGradient | dy T[..,H], x T[..,H], scale T[H], mean f32[..,1], inverseDeviation f32[..,1], addend? T[..,H] | dx T[..,H], dscale P[H], dshift P[H] | | addend is added to dx |
 * | RmsNormalization | x T[..,H], scale T[H] | y T[..,H], inverseRms f32[..,1] | epsilon float | y = x · inverseRms · scale |
 * | RmsNormalizationGradient | dy T[..,H], x T[..,H], scale T[H], inverseRms f32[..,1], addend? T[..,H] | dx T[..,H], dscale P[H] | | addend is added to dx |
 * | Gelu | x T[..] | y T[..] | approximate string: "tanh" or "none" (erf) | |
 * | LinearGelu | x T[..,K], weight T[N,K], bias T[N] | y T[..,N], product T[..,N] | approximate string | product = x · weightᵀ + bias, y = Gelu of it |
 * | GeluGradient | dy T[..,N], x T[..,N] | dx T[..,N], columns P[N] | approximate string | columns: sums of dx over all leading axes |
 * | LinearInputGeluGradient | dy T[..,N], weight T[N,K], x T[..,K] | dx T[..,K], columns P[K] | approximate string | GeluGradient of dy · weight at x |
 * | SwiGlu | gate T[..], up T[..] | y T[..] | | y = gate · sigmoid(gate) · up |
 * | SwiGluGradient | dy T[..], gate T[..], up T[..] | dgate T[..], dup T[..] | | |
 * | Rotary | x T[S,b,h,d], cosine f32[S,d/2], sine f32[S,d/2] | y T[S,b,h,d] | inverse int | rotates (x[i], x[i+d/2]) by the angle; by its negative where inverse (the gradient) |
 * | Dropout | x T[..,C], row0 int64[..,1], row1 int64[..,1], active int64[..,1], column0 int64[C], column1 int64[C] | y T[..,C] | rate float | where active is 1: x / (1 − rate) if ((row0 + column0) · (row1 + column1)) mod 2^46 ≥ rate · 2^46, else 0; where it is 0: x; keys are below 2^30; always decomposed |
 * | Attention | q T[Sq,b,h,d], k T[Sk,b,g,d], v T[Sk,b,g,d], bias? T[n,h,Sq,Sk] | context T[Sq,b,h,d], statistics | scale float, causal int, keep string | softmax(scale · q kᵀ + bias) v; head i reads key head ⌊i·g/h⌋, sample j reads bias j mod n |
 * | AttentionGradient | dcontext T[Sq,b,h,d], q, k, v, bias?, context, statistics | dq, dk, dv, dbias? T[n,h,Sq,Sk] | scale, causal, keep | |
 * | SoftmaxCrossEntropyStatistics | logits T[N,V], offset int64[1] | maximum f32[N], sum f32[N] | vocabulary int, padded int | of this rank's columns: largest logit, and the sum of exp(logit − maximum) |
 * | SoftmaxCrossEntropyLoss | logits T[N,V], labels int64[N], offset int64[1], logSumExp f32[N] | loss f32[1] | scale float, vocabulary int, padded int | scale · sum over rows whose label lies in [offset, offset+V) of logSumExp − logits[row, label−offset] |
 * | SoftmaxCrossEntropyGradient | logits T[N,V], labels int64[N], offset int64[1], logSumExp f32[N] | dlogits T[N,V] | scale float, vocabulary int, padded int | scale · (exp(logits − logSumExp) − onehot(label − offset)); rows with a negative label are 0 |
 * | Embedding | weight T[V,H], indices int64[..] | y T[..,H] | checked int | rows of weight; where checked, an index outside [0,V) gives zeros |
 * | EmbeddingGradient | dy T[..,H], indices int64[..] | dweight P[rows,H] | rows int, checked int | deterministic; where checked, indices outside [0,rows) are left out |
 *
 * - `keep` says what attention leaves for its gradient in `statistics`: "logSumExp" f32[b,h,Sq] (fused kernels; what
 *   `customOps` emits), or "probabilities" T[b,h,Sq,Sk] (decomposed: on the host, making them again costs more time
 *   than their memory is worth).
 * - Causal: query i reads keys j ≤ i + (Sk − Sq).
 * - `vocabulary`: columns c with offset + c ≥ vocabulary are padding: they count as −∞ and get gradient 0; `padded` is 0
 *   where no rank has any.
 * - The offset is 0 and V the whole (padded) vocabulary where it is not cut over the tensor group.
 */
export const COMPOSITE_OPS: Readonly<Record<CompositeOp, OpDefinition>> = {
  ...LINEAR_OPS,
  ...NORMALIZATION_OPS,
  ...ACTIVATION_OPS,
  ...DROPOUT_OPS,
  ...ATTENTION_OPS,
  ...CROSS_ENTROPY_OPS,
  ...EMBEDDING_OPS,
};

export function isComposite(op: string): op is CompositeOp {
  return op in COMPOSITE_OPS;
}
