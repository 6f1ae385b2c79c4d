import { GalvatronError } from "../base/errors.js";
import { type MemorySize, memoryBytes, memoryText } from "../base/memory-size.js";
import { BYTES_PER_GB } from "../base/units.js";
import { costModel } from "../cost/cost-model.js";
import type { LayerCost } from "../cost/layer-cost.js";
import { planStages } from "../cost/predict.js";
import { exposedMs } from "../cost/stage-cost.js";
import { formatMs } from "../display/cost-figure.js";
import { holdersFigure } from "../display/holders-figure.js";
import { searchFigure } from "../display/search-figure.js";
import type { LayerNote } from "../display/strategy-figure.js";
import type { TrainingExpectation } from "../display/training-figure.js";
import { type WhatIfPoint, whatIfFigure } from "../display/what-if-figure.js";
import type { Plan } from "../plan/plan.js";
import { computeDtype } from "../plan/precision.js";
import { strategyText } from "../plan/strategy-text.js";
import { paretoFront, searchOrNull } from "../search/pareto-front.js";
import type { SearchInputs } from "../search/search.js";
import type { SearchReport } from "../search/search-report.js";
import { type Change, changedInputs } from "../search/what-if.js";
import type { FoundPlan } from "./find-plan.js";
import { drawnReportOf } from "./plan-questions.js";
import { Picture } from "./show.js";

/** What a sweep changes: values of one quantity, everything else as it was for the plan. */
export interface Sweep {
  /** Budgets of a rank: "8GB", … */
  readonly memory?: readonly MemorySize[];
  /** Factors on the speed of every link: 0.5 is half as fast. */
  readonly bandwidth?: readonly number[];
  /** Factors on the speed of computing. */
  readonly compute?: readonly number[];
  readonly nodes?: readonly number[];
  readonly ranksPerNode?: readonly number[];
  readonly globalBatch?: readonly number[];
  /** Tokens of a sequence. */
  readonly sequence?: readonly number[];
}

/** What hovering over a layer of the strategy map tells: its time in a step and its memory on one rank. */
export function layerNotes({ model, modelProfile, machine, report }: FoundPlan): LayerNote {
  const { plan } = report;
  const stages = planStages(costModel(model, modelProfile, machine.hardware, plan.gradientOrder), plan);
  const parts = stages.flatMap(({ parts, inFlight }, stage) =>
    parts.map(({ cost }, index) => ({ cost, inFlight, exposedMs: exposedMs(cost, stage, index) })),
  );
  return (layer) => {
    const part = parts[layer + 1];
    return part ? costText(part, plan.microBatches) : "";
  };
}

interface PlacedCost {
  readonly cost: LayerCost;
  readonly inFlight: number;
  readonly exposedMs: number;
}

function costText({ cost, inFlight, exposedMs }: PlacedCost, microBatches: number): string {
  const compute = microBatches * (cost.forwardComputeMs + cost.backwardComputeMs + cost.recomputeMs);
  const tensor = microBatches * (cost.forwardTensorMs + cost.backwardTensorMs);
  const data = microBatches * (cost.forwardDataMs + cost.backwardDataMs) + exposedMs + cost.firstGatherMs;
  const states = cost.parameterBytes + cost.gradientBytes + cost.optimizerBytes;
  return [
    `compute ${formatMs(compute)}`,
    ...(tensor > 0 ? [`tensor ${formatMs(tensor)}`] : []),
    ...(data > 0 ? [`data ${formatMs(data)}`] : []),
    `states ${memoryText(states)}`,
    `activations ${memoryText(inFlight * cost.activationBytes)}`,
  ].join(", ");
}

/** A plan by hand has no budget but its machine's memory, which is told where the plan needs this much of it. */
const NEAR_MACHINE = 0.2;

/** What a plan's memory is held against; `null` for one by hand that its machine hardly notices. */
export function budgetOf({ candidates, budgetBytes, prediction }: SearchReport): number | null {
  const fullest = Math.max(...prediction.stages.map(({ memory }) => memory.totalBytes));
  return candidates.length > 0 || fullest > NEAR_MACHINE * budgetBytes ? budgetBytes : null;
}

/** What a training of this plan is drawn against. */
export function trainingExpectation(found: FoundPlan, steps: number): TrainingExpectation {
  const { model, machine, report, memoryBytesByRank } = found;
  const { plan, prediction, budgetBytes } = report;
  const forward = model.layers.reduce((sum, kind) => sum + model.kinds[kind]!.forwardFlops, 0);
  const products = machine.hardware.matmuls.filter(({ dtype }) => dtype === computeDtype(plan.precision));
  const fastest = products.reduce(
    (best, { m, k, n, timeMs }) => Math.max(best, (2 * m * k * n) / (timeMs / 1000)),
    0,
  );
  return {
    steps,
    samplesPerStep: plan.globalBatch,
    tokensPerStep: plan.globalBatch * model.sequence,
    predictedStepMs: prediction.stepMs,
    predictedMemoryBytes: Math.max(...memoryBytesByRank),
    budgetBytes,
    // Backward does the products of forward twice.
    flopsPerStep: 3 * plan.globalBatch * (forward + model.head.forwardFlops),
    peakFlops: fastest * plan.ranks,
  };
}

/** The shares of a layer that every rank holds. @throws GalvatronError ARGUMENT_INVALID for a layer that is not there */
export function holdersPicture({ model, lowered }: FoundPlan, layer: number): Picture {
  if (!Number.isInteger(layer) || layer < 0 || layer >= model.layers.length)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected a layer from 0 to ${model.layers.length - 1}, got ${layer}.`,
      { layer },
    );
  return new Picture("", [holdersFigure(lowered.programs, layer)]);
}

/** The search landscape with the Pareto front of memory against throughput, in at most so many points. */
export function landscapePicture(found: FoundPlan, points: number): Picture {
  const front = paretoFront(searchInputs(found), points);
  const lines = front.map(
    ({ memoryBytes, stepMs, plan }) =>
      `${memoryText(memoryBytes)} a rank: ${formatMs(stepMs)} a step, ${plan.stageLayers.length} stage(s), ${plan.microBatches} micro-batch(es)`,
  );
  return new Picture(lines.join("\n"), [
    searchFigure(found.report, { front, complete: drawnReportOf(found) }),
  ]);
}

/** Throughput of the best plan over the values of one quantity. @throws GalvatronError ARGUMENT_INVALID */
export function sweepPicture(found: FoundPlan, sweep: Sweep): Picture {
  const [entry, ...others] = Object.entries(sweep).filter(([, values]) => values !== undefined);
  if (!entry || others.length > 0 || !Array.isArray(entry[1]) || entry[1].length === 0)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `Expected one quantity with its values, such as { memory: ["4GB", "8GB"] } or { bandwidth: [0.5, 1, 2] }, got ${JSON.stringify(sweep)}.`,
    );
  const [name, values] = entry as [keyof Sweep, readonly MemorySize[]];
  const inputs = searchInputs(found);
  const { unit, label, scale, change } = quantity(name);
  const points = values.map((value): WhatIfPoint => {
    const number = name === "memory" ? memoryBytes(value) : Number(value);
    const report = searchOrNull(changedInputs(inputs, change(number)));
    return {
      value: Number((number / scale).toPrecision(6)),
      samplesPerSecond: report ? report.prediction.samplesPerSecond : null,
      plan: report ? planStrategies(report.plan) : "no plan fits",
    };
  });
  return new Picture("", [whatIfFigure(label, unit, points)]);
}

/** "2 stages: 6 × dp2·zero3, 2 × tp2", strategies in order of first appearance. */
export function planSummary({ stageLayers, layers }: Plan): string {
  const counts = new Map<string, number>();
  for (const text of layers.map(strategyText)) counts.set(text, (counts.get(text) ?? 0) + 1);
  const strategies = [...counts].map(([text, count]) => (counts.size === 1 ? text : `${count} × ${text}`));
  return `${stageLayers.length} ${stageLayers.length === 1 ? "stage" : "stages"}: ${strategies.join(", ")}`;
}

/** "tp2, sp2, …; 2 stages, 4 micro-batches": short enough for an axis. */
export function planLabel({ stageLayers, layers, microBatches }: Plan): string {
  const strategies = [...new Set(layers.map(strategyText))];
  const parts = [
    ...(stageLayers.length > 1 ? [`${stageLayers.length} stages`] : []),
    ...(microBatches > 1 ? [`${microBatches} micro-batches`] : []),
  ];
  const shown = strategies.length > 2 ? [...strategies.slice(0, 2), "…"] : strategies;
  return [shown.join(", "), ...(parts.length > 0 ? [parts.join(", ")] : [])].join("; ");
}

/** The strategies alone: plans of a sweep that differ in how many layers have each count as one. */
function planStrategies({ stageLayers, layers }: Plan): string {
  const strategies = [...new Set(layers.map(strategyText))].sort();
  const stages = `${stageLayers.length} ${stageLayers.length === 1 ? "stage" : "stages"}`;
  return `${stages}: ${strategies.slice(0, 3).join(", ")}${strategies.length > 3 ? ", …" : ""}`;
}

function searchInputs(found: FoundPlan): SearchInputs {
  const { model, modelProfile, machine, report, options } = found;
  return {
    model,
    modelProfile,
    hardware: machine.hardware,
    budgetBytes: report.budgetBytes,
    globalBatch: options.globalBatch ?? report.plan.globalBatch,
    ...(options.space && { space: options.space }),
  };
}

interface Quantity {
  readonly label: string;
  readonly unit: string;
  /** A unit of the axis in the quantity's own. */
  readonly scale: number;
  change(value: number): Change;
}

function quantity(name: keyof Sweep): Quantity {
  switch (name) {
    case "memory":
      return {
        label: "memory of a rank",
        unit: "GB",
        scale: BYTES_PER_GB,
        change: (budgetBytes) => ({ budgetBytes }),
      };
    case "bandwidth":
      return { label: "speed of the links", unit: "times", scale: 1, change: (bandwidth) => ({ bandwidth }) };
    case "compute":
      return { label: "speed of computing", unit: "times", scale: 1, change: (compute) => ({ compute }) };
    case "nodes":
      return { label: "number of nodes", unit: "nodes", scale: 1, change: (nodes) => ({ nodes }) };
    case "ranksPerNode":
      return {
        label: "ranks of a node",
        unit: "ranks",
        scale: 1,
        change: (ranksPerNode) => ({ ranksPerNode }),
      };
    case "globalBatch":
      return { label: "global batch", unit: "samples", scale: 1, change: (globalBatch) => ({ globalBatch }) };
    case "sequence":
      return { label: "sequence", unit: "tokens", scale: 1, change: (sequence) => ({ sequence }) };
  }
}
