import type { ModelSpec } from "../model/model-spec.js";
import type { GradientOrder, Plan, Precision, Schedule } from "./plan.js";
import type { DataParallel, Placement, Strategy, TensorSplit } from "./strategy.js";

/** What a plan with one strategy for all layers is made of. */
export interface UniformPlanOptions {
  readonly ranks: number;
  readonly globalBatch: number;
  /** 1 when left out. */
  readonly microBatches?: number;
  /** 1 when left out; stages differ by at most one layer, longer ones first. */
  readonly pipelineDegree?: number;
  /** 1 when left out; the data degree is what remains of a stage's ranks. */
  readonly tensorDegree?: number;
  /** `weights` when left out. */
  readonly tensorSplit?: TensorSplit;
  /** `ddp` when left out. */
  readonly dataParallel?: DataParallel;
  readonly recompute?: boolean;
  /** `consecutive` when left out. */
  readonly placement?: Placement;
  /** `1f1b` when left out. */
  readonly schedule?: Schedule;
  /** `float32` when left out. */
  readonly precision?: Precision;
  /** When left out, what the session gives a plan of its machine: `canonical` on the host, `deferred` elsewhere. */
  readonly gradientOrder?: GradientOrder;
}

/** The strategy in its canonical form: what cannot differ for its degrees is set to the one value it may have. */
export function canonicalStrategy(strategy: Strategy): Strategy {
  const tensorSplit = strategy.tensorDegree === 1 ? "weights" : strategy.tensorSplit;
  const states =
    tensorSplit === "sequence" ? strategy.tensorDegree * strategy.dataDegree : strategy.dataDegree;
  return {
    tensorDegree: strategy.tensorDegree,
    tensorSplit,
    dataDegree: strategy.dataDegree,
    dataParallel: states === 1 ? "ddp" : strategy.dataParallel,
    recompute: strategy.recompute,
    placement: strategy.tensorDegree === 1 || strategy.dataDegree === 1 ? "consecutive" : strategy.placement,
  };
}

/** A plan with one strategy throughout (what people write by hand): baselines, and plans by example. */
export function uniformPlan(model: ModelSpec, options: UniformPlanOptions): Plan {
  const stages = options.pipelineDegree ?? 1;
  const tensorDegree = options.tensorDegree ?? 1;
  const strategy = canonicalStrategy({
    tensorDegree,
    tensorSplit: options.tensorSplit ?? "weights",
    dataDegree: options.ranks / stages / tensorDegree,
    dataParallel: options.dataParallel ?? "ddp",
    recompute: options.recompute ?? false,
    placement: options.placement ?? "consecutive",
  });
  const layers = model.layers.length;
  return {
    ranks: options.ranks,
    globalBatch: options.globalBatch,
    microBatches: options.microBatches ?? 1,
    schedule: options.schedule ?? "1f1b",
    precision: options.precision ?? "float32",
    ...(options.gradientOrder && { gradientOrder: options.gradientOrder }),
    stageLayers: Array.from(
      { length: stages },
      (_, stage) => Math.floor(layers / stages) + (stage < layers % stages ? 1 : 0),
    ),
    layers: model.layers.map(() => strategy),
    vocabulary: { ...strategy, recompute: false },
  };
}
