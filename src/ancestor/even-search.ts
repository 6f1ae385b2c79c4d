import { type Assignment, type Candidate, kindCounts, layersOfCounts } from "./assignment.js";
import { pipelineTime, steadyTime } from "./cost/pipeline-time.js";
import type { CostTables } from "./cost-tables.js";
import { boundAt, type StageBound, stageBound } from "./stage-bound.js";
import {
  chooseStage,
  type LayerOptions,
  layerOptions,
  type Proof,
  type StageChoice,
} from "./stage-choice.js";

/** Options and bounds of the stages of one sub-search under one division: shared by all choices for the vocabulary. */
export interface StageSet {
  /** By stage, then kind. */
  readonly options: readonly (readonly LayerOptions[])[];
  readonly counts: readonly Int32Array[];
  readonly boundaries: readonly number[];
  /** Least time of every stage over memory. */
  readonly time: readonly StageBound[];
  /** Of the first stage: `weight` × time + exposure. */
  readonly firstWithSync: readonly { readonly weight: number; readonly bound: StageBound }[];
}

/** Options of every stage and kind, out of `allowed` strategies. */
export function stageOptions(
  tables: CostTables,
  allowed: readonly number[],
  kinds: number,
): readonly (readonly LayerOptions[])[] {
  const size = tables.strategies.length;
  return tables.memoryMB.map((memory) =>
    Array.from({ length: kinds }, (_, kind) => {
      const row = kind * size;
      return layerOptions(
        tables.unsynced.subarray(row, row + size),
        tables.exposed.subarray(row, row + size),
        memory.subarray(row, row + size),
        allowed,
      );
    }),
  );
}

export function stageSet(
  tables: CostTables,
  options: readonly (readonly LayerOptions[])[],
  kindOfLayer: Int32Array,
  division: readonly number[],
): StageSet {
  const kinds = options[0]!.length;
  const boundaries = [0];
  for (const layers of division) boundaries.push(boundaries.at(-1)! + layers);
  const counts = division.map((_, stage) =>
    kindCounts(kindOfLayer, kinds, boundaries[stage]!, boundaries[stage + 1]!),
  );
  return {
    options,
    counts,
    boundaries,
    time: options.map((own, stage) => stageBound(own, counts[stage]!, 1, 0)),
    firstWithSync: firstWeights(tables.stages, tables.microBatches).map((weight) => ({
      weight,
      bound: stageBound(options[0]!, counts[0]!, weight, 1),
    })),
  };
}

/** How often the first stage's time counts in the three lines that make up the step time. */
export function firstWeights(stages: number, microBatches: number): readonly number[] {
  if (stages === 1) return [microBatches];
  const fill = Math.max(0, microBatches + 1 - stages);
  return [1, Math.min(stages - 1, microBatches - 1) + fill, fill];
}

/** Seconds: no choice of layers within the budgets makes a faster step. `Infinity` where nothing fits. */
export function evenBound(
  tables: CostTables,
  set: StageSet,
  rest: readonly number[],
  budgetMB: readonly number[],
): number {
  const { stages, microBatches } = tables;
  let sum = 0;
  let first = 0;
  let last = 0;
  for (let stage = 0; stage < stages; stage++) {
    const least = boundAt(set.time[stage]!, budgetMB[stage]!) + rest[stage]!;
    if (stage === 0) first = least;
    if (stage === stages - 1) last = least;
    sum += least;
  }
  let bound = steadyTime(first, sum, last, stages, microBatches);
  const later = sum - first;
  for (let i = 0; i < set.firstWithSync.length; i++) {
    const { weight, bound: line } = set.firstWithSync[i]!;
    const own = boundAt(line, budgetMB[0]!) + (weight - 1) * rest[0]!;
    bound = Math.max(bound, own + laterTime(stages, i, later, last, microBatches));
  }
  return bound;
}

/** The fastest layers of a candidate under a fixed division, or null where none is faster than `cutoff`. */
export interface EvenSolution {
  readonly time: number;
  readonly choices: readonly StageChoice[];
}

/** The sweep over exposure ends here at the latest; every step of it allows strictly less. */
const SWEEPS: number = 1000;

/**
 * Exact for the step time: stages only meet in sums, so that each takes its least time, unless synchronisation of
 * gradients sticks out. Then the first stage's own trade of time against exposure is tried, which mostly closes the
 * gap; else the exposure allowed is lowered step by step, every stage again taking its least time under it, until less
 * exposure cannot pay any more.
 */
export function solveEven(
  tables: CostTables,
  set: StageSet,
  rest: readonly number[],
  budgetMB: readonly number[],
  cutoff: number,
  proof: Proof,
): EvenSolution | null {
  const { stages, microBatches } = tables;
  const fastest: StageChoice[] = [];
  for (let stage = 0; stage < stages; stage++) {
    const choice = chooseStage(
      set.options[stage]!,
      set.counts[stage]!,
      budgetMB[stage]!,
      Infinity,
      Infinity,
      proof,
    );
    if (choice === null) return null;
    fastest.push(choice);
  }
  const least = fastest.map((choice, stage) => choice.time + rest[stage]!);
  const steady = steadyOf(least, microBatches);
  let best = cutoff;
  let found: EvenSolution | null = null;
  /** Offers a complete choice and tells how much synchronisation sticks out of it. */
  const offer = (choices: readonly StageChoice[]): number => {
    const unsynced = choices.map((choice, stage) => choice.time + rest[stage]!);
    const synced = choices.map((choice) => choice.time + choice.exposed);
    const time = pipelineTime(unsynced, synced, microBatches);
    if (time < best) {
      best = time;
      found = { time, choices };
    }
    const exposed = time - steadyOf(unsynced, microBatches);
    if (exposed > Math.max(0, synced[0]! - unsynced[0]!) + time * TIE) proof.laterExposed = true;
    return exposed;
  };
  if (steady >= best) return null;
  let allowance = offer(fastest);
  let floor = steady;
  if (!(allowance > best * TIE)) return found;

  let later = 0;
  for (let stage = 1; stage < stages; stage++) later += least[stage]!;
  for (const [line, weight] of firstWeights(stages, microBatches).entries()) {
    const first = chooseWeighted(set.options[0]!, set.counts[0]!, budgetMB[0]!, weight, proof);
    if (first === null) return found;
    const own = weight * first.time + first.exposed + (weight - 1) * rest[0]!;
    floor = Math.max(floor, own + laterTime(stages, line, later, least[stages - 1]!, microBatches));
    offer([first, ...fastest.slice(1)]);
  }
  if (best <= floor * (1 + TIE)) return found;

  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    allowance -= best * TIE;
    const choices: StageChoice[] = [];
    let before = 0;
    for (let stage = 0; stage < stages; stage++) {
      const limit = allowance + rest[stage]! + before;
      const free = fastest[stage]!;
      const choice =
        free.exposed <= limit
          ? free
          : chooseStage(set.options[stage]!, set.counts[stage]!, budgetMB[stage]!, limit, Infinity, proof);
      if (choice === null) return found;
      choices.push(choice);
      before += choice.time + rest[stage]!;
      // nothing with less exposure is faster than this first stage with the other stages at their least
      if (stage === 0 && steadyOf([before, ...least.slice(1)], microBatches) >= best) return found;
    }
    const exposed = offer(choices);
    if (!(exposed > best * TIE) || exposed >= allowance) return found;
    allowance = exposed;
  }
  return found;
}

/** Times that differ by less than this share are ties. */
const TIE: number = 1e-13;

/** The choice of a first stage that is least in `weight` × time + exposure. */
function chooseWeighted(
  options: readonly LayerOptions[],
  counts: Int32Array,
  budget: number,
  weight: number,
  proof: Proof,
): StageChoice | null {
  const size = options[0]!.time.length;
  const weighted = options.map((kind) => ({
    ...kind,
    time: kind.time.map((seconds, s) => weight * seconds + kind.exposed[s]!),
  }));
  const choice = chooseStage(weighted, counts, budget, Infinity, Infinity, proof);
  if (choice === null) return null;
  let time = 0;
  for (let k = 0; k < options.length; k++) {
    for (let s = 0; s < size; s++) {
      const n = choice.counts[k * size + s]!;
      if (n > 0) time += n * options[k]!.time[s]!;
    }
  }
  return { ...choice, time };
}

/** What the stages after the first add to a line of {@link firstWeights} (drain, ramp, fill). */
export function laterTime(
  stages: number,
  line: number,
  later: number,
  last: number,
  microBatches: number,
): number {
  if (stages === 1 || line === 1) return 0;
  return line === 0 ? later + (microBatches - 1) * last : later;
}

function steadyOf(times: readonly number[], microBatches: number): number {
  let sum = 0;
  for (const time of times) sum += time;
  return steadyTime(times[0]!, sum, times[times.length - 1]!, times.length, microBatches);
}

/** Writes a solution out. */
export function assignmentOf(
  candidate: Candidate,
  kindOfLayer: Int32Array,
  set: StageSet,
  solution: EvenSolution,
  usableMB: number,
): Assignment {
  const { tables, sub, vocabulary, budgetMB } = candidate;
  const boundaries = set.boundaries;
  return {
    globalBatch: tables.globalBatch,
    microBatches: tables.microBatches,
    sub,
    stageLayers: boundaries.slice(1).map((end, stage) => end - boundaries[stage]!),
    layers: solution.choices.flatMap((choice, stage) =>
      layersOfCounts(tables, kindOfLayer, boundaries[stage]!, boundaries[stage + 1]!, choice.counts),
    ),
    vocabulary: vocabulary.strategy,
    time: solution.time,
    usedMB: solution.choices.map((choice, stage) => usableMB - budgetMB[stage]! + choice.memory),
  };
}
