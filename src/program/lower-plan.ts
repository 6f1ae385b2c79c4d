import { GalvatronError } from "../base/errors.js";
import type { GraphStore } from "../graph/graph-ref.js";
import type { LayerGraphs, LayerRequest } from "../graph/layer-graphs.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import type { Program } from "./program.js";

/** Choices of the compiler that change no result. */
export interface LowerOptions {
  /** Builds a layer's graphs; called once for each distinct kind, split and micro-batch shape. */
  readonly graphsFor: (request: LayerRequest) => LayerGraphs;
  /** Tokens (or labels) of the global batch that the loss is the mean over; from the model when left out. */
  readonly lossTokens?: number;
}

/** All ranks' programs, and the ONNX bytes they name. */
export interface LoweredPlan {
  readonly programs: readonly Program[];
  readonly graphs: GraphStore;
}

/**
 * Compiles a plan: one Program per rank.
 *
 * @throws {GalvatronError} PLAN_INVALID when the plan breaks a rule of `verifyPlan`.
 */
export function lowerPlan(model: ModelSpec, plan: Plan, options: LowerOptions): LoweredPlan {
  throw new GalvatronError("PROGRAM_INVALID", `Lowering of ${model.name} is not there yet.`, {
    ranks: plan.ranks,
    options: Object.keys(options).join(),
  });
}
