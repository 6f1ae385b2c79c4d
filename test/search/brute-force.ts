import type { CollectiveSample, HardwareProfile } from "../../src/cluster/hardware-profile.js";
import { costModel } from "../../src/cost/cost-model.js";
import { planStages, predictWith } from "../../src/cost/predict.js";
import { stageBytes } from "../../src/cost/stage-cost.js";
import { EMBEDDING_KIND, HEAD_KIND, type LayerSample } from "../../src/model/model-profile.js";
import type { LayerKind, ModelSpec } from "../../src/model/model-spec.js";
import type { Plan } from "../../src/plan/plan.js";
import { PRECISIONS } from "../../src/plan/precision.js";
import type { Strategy } from "../../src/plan/strategy.js";
import { type BatchRange, outerChoices } from "../../src/search/outer-choice.js";
import type { SearchInputs } from "../../src/search/search.js";
import { divisors } from "../../src/search/space.js";
import { strategiesOf } from "../../src/search/strategies.js";

/** Seeded uniform numbers in [0, 1): mulberry32. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A small search problem with arbitrary prices: 3–5 layers of two kinds, 2–8 ranks, at most 6 strategies a kind. */
export function randomInstance(seed: number): SearchInputs {
  const random = randomNumbers(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const between = (low: number, high: number): number => low + random() * (high - low);
  const ranks = pick([2, 3, 4, 6, 8]);
  const layerCount = pick([3, 3, 4, 4, 5]);
  const kind = (name: string): LayerKind => ({
    name,
    hidden: 48,
    heads: 24,
    keyValueHeads: 24,
    feedForward: 96,
    sequence: 48,
    parameters: Math.round(between(1e4, 1e5)),
    forwardFlops: 1e6,
  });
  const change = Math.floor(random() * (layerCount + 1));
  const model: ModelSpec = {
    family: "t5",
    name: "random",
    sequence: 48,
    vocabulary: 100,
    kinds: { a: kind("a"), b: kind("b") },
    layers: Array.from({ length: layerCount }, (_, i) => (i < change ? "a" : "b")),
    embedding: { parameters: 4800 },
    head: { parameters: 4800, forwardFlops: 1e6, tied: seed % 2 === 1 },
    options: {},
  };
  const layers: LayerSample[] = [];
  for (const name of ["a", "b", EMBEDDING_KIND, HEAD_KIND]) {
    const base = between(0.2, 2);
    const parameters = between(1e4, 1e5);
    const activation = between(1e4, 4e5);
    for (const tensorDegree of divisors(ranks)) {
      for (const tensorSplit of tensorDegree === 1
        ? (["weights"] as const)
        : (["weights", "sequence"] as const)) {
        for (const samples of [1, 2, 4, 8, 16]) {
          const share = samples / tensorDegree;
          const activationBytes = activation * share * between(0.8, 1.2);
          layers.push({
            kind: name,
            tensorDegree,
            tensorSplit,
            samples,
            sequence: 48,
            forwardMs: base * share * between(0.8, 1.3) + 0.1,
            backwardMs: 2 * base * share * between(0.8, 1.3) + 0.1,
            activationBytes,
            inputBytes: activationBytes * between(0.05, 0.5),
            parameterElements: Math.round(parameters / (tensorSplit === "weights" ? tensorDegree : 1)),
            workspaceBytes: between(0, 3e5),
          });
        }
      }
    }
  }
  const collectives: CollectiveSample[] = [];
  const latency = between(0.001, 0.1);
  const slowness = between(1e-8, 3e-6);
  for (const collective of ["allReduce", "allGather", "reduceScatter", "allToAll", "sendReceive"] as const) {
    for (const group of collective === "sendReceive" ? [2] : divisors(ranks).slice(1)) {
      for (const stride of [1, 2, 4]) {
        const factor = between(0.5, 2) * (collective === "allReduce" ? 2 : 1);
        for (const sizeBytes of [1000, 100_000, 10_000_000]) {
          const timeMs = factor * (latency + slowness * sizeBytes * (1 - 1 / group));
          collectives.push({
            collective,
            ranks: group,
            stride,
            nodes: 1,
            concurrentGroups: 1,
            sizeBytes,
            timeMs,
          });
        }
      }
    }
  }
  const slowdowns = (most: number) => ({
    computeSlowdown: between(1, most),
    communicationSlowdown: between(1, 1.6),
  });
  const hardware: HardwareProfile = {
    cluster: {
      name: "random",
      device: "host",
      deviceName: "random",
      nodes: 1,
      ranksPerNode: ranks,
      memoryBytesPerRank: 1e9,
    },
    source: "estimated",
    matmuls: [],
    collectives,
    computeSlowdown: between(1, 1.6),
    communicationSlowdown: between(1, 1.6),
    optimizerGBps: between(0.5, 20),
    launchMs: 0,
    reservedBytes: 1000,
  };
  const perKind = layerCount === 5 ? 3 : layerCount === 4 ? 4 : 6;
  const strategies: Record<string, readonly Strategy[]> = {};
  for (const [name, count] of [
    ["a", perKind],
    ["b", perKind],
    [EMBEDDING_KIND, 2],
  ] as const) {
    strategies[name] = divisors(ranks).flatMap((stages) => {
      const all = strategiesOf(model, name, ranks / stages, {});
      return Array.from({ length: Math.min(count, all.length) }, () => pick(all));
    });
  }
  const profile = {
    model,
    precision: pick(PRECISIONS),
    device: "random",
    source: "measured" as const,
    // Every other model met gathers and reductions that are copies, and was seen to rest.
    ...(between(0, 1) < 0.5 && {
      overlap: {
        ...slowdowns(1.6),
        gathers: slowdowns(1.2),
        reductions: slowdowns(1.3),
      },
      rest: [
        { workShare: 0.25, timeFactor: between(0.5, 1) },
        { workShare: 0.6, timeFactor: between(0.5, 1) },
      ],
    }),
    layers,
  };
  const globalBatch = ranks * pick([1, 2, 4]);
  // Half of the instances must use a pipeline, which would seldom win among so few ranks.
  const pipelineDegrees = divisors(ranks).slice(random() < 0.5 ? 1 : 0);
  const microBatches = [pick(divisors(globalBatch)), pick(divisors(globalBatch))];
  const inputs: SearchInputs = {
    model,
    modelProfile: profile,
    hardware,
    budgetBytes: 0,
    globalBatch,
    gradientOrder: seed % 4 < 2 ? "canonical" : "deferred",
    space: { strategies, pipelineDegrees, microBatches },
  };
  const all = plans(inputs);
  const some = all.filter((_, index) => index % Math.ceil(all.length / 300) === 0);
  const fullest = some.map((plan) => planBytes(inputs, plan)).sort((a, b) => a - b);
  const budgetBytes = Math.ceil(fullest[Math.floor(random() ** 2 * fullest.length)] ?? 1e6);
  return { ...inputs, budgetBytes };
}

/** The same with a range of batches and all their micro-batch counts, which share bounds. */
export function randomRange(seed: number): SearchInputs & { readonly globalBatch: BatchRange } {
  const { space, ...inputs } = randomInstance(seed);
  const { microBatches: _, ...rest } = space ?? {};
  const step = inputs.hardware.cluster.ranksPerNode;
  return { ...inputs, globalBatch: { from: step, to: 8 * step, step }, space: rest };
}

function* products<T>(lists: readonly (readonly T[])[], index = 0): Generator<T[]> {
  if (index === lists.length) {
    yield [];
    return;
  }
  for (const one of lists[index]!) for (const rest of products(lists, index + 1)) yield [one, ...rest];
}

function compositions(total: number, parts: number): number[][] {
  if (parts === 1) return [[total]];
  const result: number[][] = [];
  for (let first = 1; first <= total - parts + 1; first++)
    for (const rest of compositions(total - first, parts - 1)) result.push([first, ...rest]);
  return result;
}

/** Every plan of the space, one by one. */
export function plans(inputs: SearchInputs): Plan[] {
  const { model, hardware, space = {} } = inputs;
  const ranks = hardware.cluster.ranksPerNode;
  const result: Plan[] = [];
  for (const outer of outerChoices(ranks, model.layers.length, inputs.globalBatch, space)) {
    const stageRanks = ranks / outer.stages;
    const samples = outer.globalBatch / outer.microBatches;
    const fitting = (kind: string): Strategy[] =>
      strategiesOf(model, kind, stageRanks, space).filter(({ dataDegree }) => samples % dataDegree === 0);
    const lists = model.layers.map(fitting);
    for (const stageLayers of compositions(model.layers.length, outer.stages))
      for (const vocabulary of fitting(EMBEDDING_KIND))
        for (const layers of products(lists))
          result.push({
            ranks,
            globalBatch: outer.globalBatch,
            microBatches: outer.microBatches,
            schedule: outer.schedule,
            precision: inputs.modelProfile.precision,
            ...(inputs.gradientOrder && { gradientOrder: inputs.gradientOrder }),
            stageLayers,
            layers,
            vocabulary,
          });
  }
  return result;
}

function planBytes(inputs: SearchInputs, plan: Plan): number {
  const cost = costModel(inputs.model, inputs.modelProfile, inputs.hardware, inputs.gradientOrder);
  return Math.max(...planStages(cost, plan).map(stageBytes)) + inputs.hardware.reservedBytes;
}

/** The fastest plan inside the budget, by pricing every single one. */
export function bruteForce(inputs: SearchInputs): { readonly stepMs: number; readonly plans: number } {
  const cost = costModel(inputs.model, inputs.modelProfile, inputs.hardware, inputs.gradientOrder);
  let stepMs = Number.POSITIVE_INFINITY;
  const all = plans(inputs);
  for (const plan of all) {
    const prediction = predictWith(cost, plan);
    const bytes = Math.max(...prediction.stages.map(({ memory }) => memory.totalBytes));
    if (bytes <= inputs.budgetBytes) stepMs = Math.min(stepMs, prediction.stepMs);
  }
  return { stepMs, plans: all.length };
}
