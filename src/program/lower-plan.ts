import { GalvatronError } from "../base/errors.js";
import { familyOf } from "../families/registry.js";
import type { GraphStore } from "../graph/graph-ref.js";
import type { LayerGraphs, LayerRequest } from "../graph/layer-graphs.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import { verifyPlan } from "../plan/verify-plan.js";
import { ArenaCache } from "./arena-cache.js";
import { lowerRank } from "./lower-rank.js";
import type { Program } from "./program.js";
import type { Shared } from "./rank-state.js";
import { RelayoutCache } from "./relayout-cache.js";
import { planSites, type Site } from "./sites.js";

/** Choices of the compiler; none changes the training beyond the rounding of sums. */
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
  const problems = verifyPlan(model, plan);
  if (problems.length > 0) {
    throw new GalvatronError("PLAN_INVALID", `This plan cannot run: ${problems.join("; ")}.`, {
      problems: problems.length,
      first: problems[0]!,
    });
  }
  const sites = planSites(model, plan, options.graphsFor, options.lossTokens ?? lossTokensOf(model, plan));
  const shared: Shared = {
    gradientOrder: plan.gradientOrder ?? "deferred",
    arenas: new ArenaCache(),
    relayouts: new RelayoutCache(),
  };
  const programs = Array.from({ length: plan.ranks }, (_, rank) =>
    lowerRank(model, plan, sites, rank, shared),
  );
  return { programs, graphs: storeOf(sites) };
}

/** Labels of a global batch, as a model has them by itself: classifiers one per sample, all others one per position. */
export function lossTokensOf(model: ModelSpec, plan: Plan): number {
  const perSample = familyOf(model.family).objective === "classification" ? 1 : model.sequence;
  return plan.globalBatch * perSample;
}

function storeOf(sites: readonly (readonly Site[])[]): GraphStore {
  const store = new Map<string, Uint8Array>();
  for (const { graphs } of sites.flat()) {
    for (const step of [...graphs.forward, ...graphs.backward]) {
      if (step.op === "run") store.set(step.graph.id, step.bytes);
    }
  }
  return store;
}
