import type { AncestorStrategy } from "../../src/ancestor/ancestor-strategy.js";
import type { AncestorCase } from "../../src/ancestor/case.js";
import type { ByDegree, FittedProfile, MessageTimes } from "../../src/ancestor/cost/fitted-profile.js";
import { type StrategySpace, strategySpace } from "../../src/ancestor/strategy-space.js";

export interface Instance {
  readonly search: AncestorCase;
  readonly profile: FittedProfile;
  readonly space: StrategySpace;
}

/** A small search with random costs: 3 to 5 layers of up to 2 kinds, 2 to 8 ranks, at most 6 strategies. */
export function randomInstance(seed: number): Instance {
  const random = generator(seed);
  const between = (low: number, high: number): number => low + random() * (high - low);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const depth = 3 + Math.floor(random() * 3);
  const kinds = 1 + Math.floor(random() * 2);
  const firstKind = kinds === 1 ? depth : 1 + Math.floor(random() * (depth - 1));
  const ranks = pick([2, 4, 4, 8, 8]);
  const microBatches = pick([1, 2, 2, 4, 4, 8]);
  const globalBatch = microBatches * pick([1, 2, 3, 4, 8]);
  // from networks so slow that gradient synchronisation rules to ones so fast that it vanishes
  const slowness = 10 ** between(-4, -0.5);
  const degrees = [1, 2, 4, 8];
  const falling = (base: number): ByDegree =>
    new Map(degrees.map((degree) => [degree, (base / degree) * between(0.9, 1.6)]));
  const perMB = (): ByDegree =>
    new Map(degrees.slice(1).map((degree) => [degree, slowness * between(0.5, 2)]));
  const messages = (): ReadonlyMap<number, MessageTimes> =>
    new Map(
      degrees
        .slice(1)
        .map((degree) => [
          degree,
          { exact: new Map(), line: { perUnit: slowness * between(0.3, 1), constant: between(0, 0.2) } },
        ]),
    );
  const vocabularyMemory = (): FittedProfile["vocabularyWhole"] => ({
    statesMB: falling(between(200, 4000)),
    activationMB: falling(between(20, 400)),
  });
  const profile: FittedProfile = {
    kinds: Array.from({ length: kinds }, (_, kind) => ({
      hidden: 1024,
      sequence: 1024,
      layers: kind === 0 ? firstKind : depth - firstKind,
      parameterMB: between(50, 1500),
      activationMB: falling(between(50, 1500)),
      recomputeActivationMB: between(1, 30),
      forward: { perUnit: between(1, 20), constant: between(0, 2) },
    })),
    vocabularyForward: { perUnit: between(1, 10), constant: between(0, 3) },
    vocabularyWhole: vocabularyMemory(),
    vocabularyFirst: vocabularyMemory(),
    vocabularyLast: vocabularyMemory(),
    consecutiveMsPerMB: perMB(),
    stridedMsPerMB: perMB(),
    pipelineMsPerMB: perMB(),
    gather: messages(),
    allToAll: messages(),
    overlap: between(1, 1.4),
  };
  const search: AncestorCase = {
    id: `random ${seed}`,
    layers: profile.kinds.map(({ hidden, sequence, layers }) => ({ hidden, sequence, layers })),
    nodes: 1,
    gpusPerNode: ranks,
    memoryGB: 3 + Math.floor(random() ** 2 * 30),
    defaultDataParallel: pick(["ddp", "zero2"] as const),
    pipeline: pick(["gpipe", "pipedream_flush"] as const),
    asyncGradReduce: random() < 0.5,
    precision: pick(["bf16", "fp32"] as const),
    sequenceParallel: true,
    globalMemoryBuffer: random() < 0.7,
    timeMode: "static",
    memoryMode: "static",
    batches: [globalBatch],
    microBatches: random() < 0.8 ? microBatches : null,
    disable: {
      data: false,
      tensor: false,
      context: random() < 0.8,
      sequence: false,
      pipeline: false,
      recompute: false,
      zero3: false,
      vocabularyTensor: false,
      vocabularySequence: false,
    },
    maxTensor: 8,
    maxPipeline: 8,
    maxSequence: 8,
    maxContext: 8,
    fineGrained: random() < 0.9,
    timeFactor: 1,
    inputs: [],
  };
  const full = strategySpace(search, false);
  const draw = (
    list: readonly AncestorStrategy[],
    stages: number,
    most: number,
  ): readonly AncestorStrategy[] => {
    const same = list.filter((strategy) => strategy.stages === stages);
    return same
      .map((strategy) => ({ strategy, key: random() }))
      .sort((a, b) => a.key - b.key)
      .slice(0, most)
      .map((one) => one.strategy);
  };
  // of one or two pipeline degrees, so that layers have something to choose from
  const stages = [...new Set([pick([1, 2, 4]), pick([1, 2])])].filter((degree) => degree <= ranks);
  const share = Math.floor(6 / stages.length);
  const order = (a: AncestorStrategy, b: AncestorStrategy): number =>
    full.layers.indexOf(a) - full.layers.indexOf(b);
  return {
    search,
    profile,
    space: {
      layers: stages.flatMap((degree) => draw(full.layers, degree, share)).sort(order),
      vocabulary: stages.flatMap((degree) => draw(full.vocabulary, degree, 3)),
    },
  };
}

function generator(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
