import { GalvatronError } from "../base/errors.js";
import type { Cluster } from "../cluster/cluster.js";
import { layerGraphs } from "../families/layer-graphs.js";
import type { LayerGraphs, LayerRequest } from "../graph/layer-graphs.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { type LoweredPlan, type LowerOptions, lowerPlan } from "../program/lower-plan.js";
import { verifyProgram } from "../program/verify-program.js";

export interface CompileOptions extends Omit<LowerOptions, "graphsFor"> {
  /** What will run it: graphs for CUDA hold our fused kernels as custom ops. "host" when left out. */
  readonly device?: Cluster["device"];
}

/**
 * Programs and graphs of a plan, proven before anything runs. Layers alike share their graphs.
 *
 * @throws GalvatronError PLAN_INVALID; PROGRAM_INVALID, which is our own mistake
 */
export function compilePlan(model: ModelSpec, plan: Plan, options: CompileOptions = {}): LoweredPlan {
  return proven(model, loweredPlan(model, plan, options));
}

/** The same without the proof, which takes half of the time: for plans that are only weighed. */
export function loweredPlan(model: ModelSpec, plan: Plan, options: CompileOptions = {}): LoweredPlan {
  const customOps = options.device === "cuda";
  if (customOps && plan.gradientOrder === "canonical")
    throw new GalvatronError(
      "PLAN_INVALID",
      "The canonical order of gradients is for the host: NCCL and kernels for GPUs add up in orders of their own. " +
        'Give the plan gradientOrder: "deferred" (--gradient-order deferred).',
      { gradientOrder: plan.gradientOrder },
    );
  const known = new Map<string, LayerGraphs>();
  const graphsFor = (request: LayerRequest): LayerGraphs => {
    const key = JSON.stringify(request);
    const graphs = known.get(key) ?? layerGraphs(model, request, { customOps });
    known.set(key, graphs);
    return graphs;
  };
  return lowerPlan(model, plan, { ...options, graphsFor });
}

/** Programs that may run. @throws GalvatronError PROGRAM_INVALID, which is our own mistake */
export function proven(model: ModelSpec, lowered: LoweredPlan): LoweredPlan {
  const problems = verifyProgram(lowered.programs, model);
  if (problems.length > 0)
    throw new GalvatronError(
      "PROGRAM_INVALID",
      `The compiler made Programs that cannot be right (please report this with the plan): ${problems.slice(0, 5).join("; ")}.`,
      { problems: problems.length },
    );
  return lowered;
}
