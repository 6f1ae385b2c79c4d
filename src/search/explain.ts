import { BYTES_PER_MB } from "../base/units.js";
import { costModel } from "../cost/cost-model.js";
import { predictWith } from "../cost/predict.js";
import type { Prediction, StageTime } from "../cost/prediction.js";
import type { Plan } from "../plan/plan.js";
import { strategyText } from "../plan/strategy-text.js";
import { searchOrNull } from "./pareto-front.js";
import type { SearchInputs } from "./search.js";
import type { SearchReport } from "./search-report.js";
import type { SpaceOptions } from "./space.js";

/** Where the time of the slowest stage goes. */
export interface BindingTerm {
  /** The stage that waits least. */
  readonly stage: number;
  readonly term: keyof StageTime;
  readonly ms: number;
  readonly share: number;
}

/** What one dimension of parallelism buys. */
export interface DimensionWorth {
  readonly dimension: string;
  /** The plan uses it. */
  readonly used: boolean;
  /** Step time of the best plan without it; `null` where none fits. */
  readonly withoutMs: number | null;
  /** How much faster the plan is than the best one without; `null` where none fits. */
  readonly speedup: number | null;
}

/** Why two neighbours of one stage differ: what either's strategy would do in the other's place. */
export interface LayerDifference {
  readonly layer: number;
  readonly next: number;
  readonly strategy: string;
  readonly nextStrategy: string;
  /** The plan with the layer under its neighbour's strategy. */
  readonly asNext: Alternative;
  /** The plan with the neighbour under the layer's strategy. */
  readonly nextAsThis: Alternative;
  readonly reason: string;
}

export interface Alternative {
  readonly stepMs: number;
  readonly memoryBytes: number;
  readonly fits: boolean;
}

/** Why a plan is as it is. */
export interface Explanation {
  readonly binding: BindingTerm;
  /** The stage whose memory is nearest to the budget, and how much is left. */
  readonly memory: { readonly stage: number; readonly usedBytes: number; readonly freeBytes: number };
  readonly dimensions: readonly DimensionWorth[];
  readonly differences: readonly LayerDifference[];
  readonly text: string;
}

const TERMS: readonly (keyof StageTime)[] = [
  "computeMs",
  "recomputeMs",
  "tensorMs",
  "dataMs",
  "relayoutMs",
  "pipelineMs",
  "optimizerMs",
  "bubbleMs",
];

const fullest = (prediction: Prediction): number =>
  Math.max(...prediction.stages.map(({ memory }) => memory.totalBytes));

interface Dimension {
  readonly name: string;
  readonly without: SpaceOptions;
  readonly used: (plan: Plan) => boolean;
}

const DIMENSIONS: readonly Dimension[] = [
  {
    name: "data parallel",
    without: { maxDataDegree: 1 },
    used: (plan) => plan.layers.some(({ dataDegree }) => dataDegree > 1),
  },
  {
    name: "ZeRO",
    without: { dataParallel: ["ddp"] },
    used: (plan) => [...plan.layers, plan.vocabulary].some(({ dataParallel }) => dataParallel !== "ddp"),
  },
  {
    name: "tensor parallel",
    without: { tensorSplits: ["sequence"] },
    used: (plan) =>
      [...plan.layers, plan.vocabulary].some((one) => one.tensorDegree > 1 && one.tensorSplit === "weights"),
  },
  {
    name: "sequence parallel",
    without: { tensorSplits: ["weights"] },
    used: (plan) => [...plan.layers, plan.vocabulary].some(({ tensorSplit }) => tensorSplit === "sequence"),
  },
  { name: "pipeline", without: { maxPipelineDegree: 1 }, used: (plan) => plan.stageLayers.length > 1 },
  {
    name: "recompute",
    without: { recompute: [false] },
    used: (plan) => plan.layers.some(({ recompute }) => recompute),
  },
  {
    name: "micro-batches",
    without: { maxMicroBatches: 1 },
    used: (plan) => plan.microBatches > 1,
  },
  {
    name: "uneven stages",
    without: { evenStages: true },
    used: (plan) => new Set(plan.stageLayers).size > 1,
  },
  {
    name: "layer by layer",
    without: { uniformLayers: true },
    used: (plan) => new Set(plan.layers.map(strategyText)).size > 1,
  },
];

/**
 * Why the plan is as it is: which term binds, what every dimension buys (the best plan without it, searched anew
 * under the same budget and batch), and why neighbouring layers differ.
 */
export function explain(inputs: SearchInputs, report: SearchReport): Explanation {
  const { plan, prediction } = report;
  const binding = bindingTerm(prediction);
  const stage = prediction.stages.findIndex(({ memory }) => memory.totalBytes === fullest(prediction));
  const usedBytes = fullest(prediction);
  const memory = { stage, usedBytes, freeBytes: inputs.budgetBytes - usedBytes };
  const dimensions = DIMENSIONS.map((dimension) => worth(inputs, report, dimension));
  const differences = layerDifferences(inputs, plan, prediction.stepMs);
  const told = { binding, memory, dimensions, differences };
  return { ...told, text: explanationText(told, report) };
}

function bindingTerm(prediction: Prediction): BindingTerm {
  let stage = 0;
  for (const [index, { time }] of prediction.stages.entries())
    if (time.bubbleMs < prediction.stages[stage]!.time.bubbleMs) stage = index;
  const { time } = prediction.stages[stage]!;
  let term: keyof StageTime = "computeMs";
  for (const one of TERMS) if (time[one] > time[term]) term = one;
  return { stage, term, ms: time[term], share: time[term] / prediction.stepMs };
}

function worth(inputs: SearchInputs, report: SearchReport, dimension: Dimension): DimensionWorth {
  const { name, without, used } = dimension;
  const space = { ...inputs.space, ...without };
  const other = searchOrNull({ ...inputs, globalBatch: report.plan.globalBatch, space });
  const withoutMs = other ? other.prediction.stepMs : null;
  return {
    dimension: name,
    used: used(report.plan),
    withoutMs,
    speedup: withoutMs === null ? null : withoutMs / report.prediction.stepMs,
  };
}

function layerDifferences(inputs: SearchInputs, plan: Plan, stepMs: number): LayerDifference[] {
  const cost = costModel(inputs.model, inputs.modelProfile, inputs.hardware, inputs.gradientOrder);
  const stageOf: number[] = [];
  for (const [stage, count] of plan.stageLayers.entries())
    for (let i = 0; i < count; i++) stageOf.push(stage);
  const kinds = inputs.model.layers;
  const result: LayerDifference[] = [];
  for (let layer = 0; layer + 1 < plan.layers.length; layer++) {
    const next = layer + 1;
    const own = plan.layers[layer]!;
    const other = plan.layers[next]!;
    if (stageOf[layer] !== stageOf[next] || kinds[layer] !== kinds[next]) continue;
    if (strategyText(own) === strategyText(other)) continue;
    const changed = (at: number, strategy: typeof own): Alternative => {
      const layers = plan.layers.map((one, index) => (index === at ? strategy : one));
      const prediction = predictWith(cost, { ...plan, layers });
      const memoryBytes = fullest(prediction);
      return { stepMs: prediction.stepMs, memoryBytes, fits: memoryBytes <= inputs.budgetBytes };
    };
    const asNext = changed(layer, other);
    const nextAsThis = changed(next, own);
    result.push({
      layer,
      next,
      strategy: strategyText(own),
      nextStrategy: strategyText(other),
      asNext,
      nextAsThis,
      reason: [
        alternativeText(`layer ${layer} as ${strategyText(other)}`, asNext, stepMs, inputs.budgetBytes),
        alternativeText(`layer ${next} as ${strategyText(own)}`, nextAsThis, stepMs, inputs.budgetBytes),
      ].join("; "),
    });
  }
  return result;
}

function alternativeText(what: string, one: Alternative, stepMs: number, budgetBytes: number): string {
  if (!one.fits) {
    const over = Math.ceil((one.memoryBytes - budgetBytes) / BYTES_PER_MB);
    return `${what} would be ${over} MB over the budget`;
  }
  const percent = (one.stepMs / stepMs - 1) * 100;
  if (Math.abs(percent) < 0.005) return `${what} would take as long`;
  return `${what} would be ${Math.abs(percent).toFixed(2)} % ${percent > 0 ? "slower" : "faster"}`;
}

function explanationText(told: Omit<Explanation, "text">, report: SearchReport): string {
  const { binding, memory, dimensions, differences } = told;
  const lines = [
    `Stage ${binding.stage} sets the pace: ${(binding.share * 100).toFixed(0)} % of the step is ${binding.term.replace("Ms", "")} (${binding.ms.toPrecision(4)} ms of ${report.prediction.stepMs.toPrecision(4)}).`,
    `Stage ${memory.stage} is the fullest: ${Math.ceil(memory.usedBytes / BYTES_PER_MB)} MB used, ${Math.floor(memory.freeBytes / BYTES_PER_MB)} MB free.`,
    ...dimensions
      .filter(({ used }) => used)
      .map(({ dimension, speedup }) =>
        speedup === null
          ? `Without ${dimension} no plan fits.`
          : `${dimension} makes it ${speedup.toFixed(3)} × as fast as the best plan without.`,
      ),
    ...differences.map(
      ({ layer, next, strategy, nextStrategy, reason }) =>
        `Layer ${layer} is ${strategy}, layer ${next} is ${nextStrategy}: ${reason}.`,
    ),
  ];
  return lines.join("\n");
}
