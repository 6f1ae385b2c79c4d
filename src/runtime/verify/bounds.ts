import type { ModelSpec } from "../../model/model-spec.js";
import type { Precision } from "../../plan/plan.js";
import { computeDtype } from "../../plan/precision.js";
import type { PlanDifference } from "./verify-plans.js";

/** How far training under a plan may be from that on one rank. */
export type VerifyBounds = Readonly<Record<"loss" | "gradient" | "weights", number>>;

const BFLOAT16: VerifyBounds = { loss: 1e-1, gradient: 5e-2, weights: 5e-2 };

/** What the order of sums explains; docs/benchmarks/verify.md gives the reasons. */
const BOUNDS: Readonly<Record<Precision, VerifyBounds>> = {
  float32: { loss: 1e-5, gradient: 1e-5, weights: 1e-5 },
  bfloat16: BFLOAT16,
  "bfloat16-gradients": BFLOAT16,
};

/** A ReLU's derivative jumps: a value that rounds across zero takes a token's whole share of a gradient with it. */
const JUMP_GRADIENT = 0.5;

export function verifyBounds(model: ModelSpec, precision: Precision): VerifyBounds {
  const bounds = BOUNDS[precision];
  const jumps = computeDtype(precision) === "bfloat16" && model.options.activation === "relu";
  return jumps ? { ...bounds, gradient: JUMP_GRADIENT } : bounds;
}

/** NaN is within no bounds. */
export function isWithin(difference: PlanDifference, bounds: VerifyBounds): boolean {
  const { loss, gradient, weights } = difference;
  return loss <= bounds.loss && gradient <= bounds.gradient && weights <= bounds.weights;
}
