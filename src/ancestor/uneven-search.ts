import { type Assignment, type Candidate, kindCounts } from "./assignment.js";
import type { AncestorCase } from "./case.js";
import type { FittedProfile } from "./cost/fitted-profile.js";
import { steadyTime } from "./cost/pipeline-time.js";
import { assignmentOf, solveEven, stageOptions, stageSet } from "./even-search.js";
import { perSample, type SearchOutcome } from "./search.js";
import { type Freedom, freedoms, kindsOfLayers } from "./search-space.js";
import { boundAt, stageBound } from "./stage-bound.js";
import { chooseStage, type LayerOptions, type Proof } from "./stage-choice.js";
import { type StrategySpace, strategySpace } from "./strategy-space.js";
import { memoryBudget } from "./sub-search.js";

interface Place extends Candidate {
  readonly freedom: Freedom;
  readonly stages: StageCosts;
}

/**
 * Lifts the ancestor's restrictions: stages of any number of layers, chosen together with their strategies, and every
 * degree that divides the ranks. Never slower than `even`, the best plan under the restrictions.
 *
 * The step time only reads the first stage, the last and the sum of all, so the stages between are divided by a small
 * DP over layers, and first and last are enumerated. Where gradient synchronisation sticks out of a later stage (it
 * has more of it than all stages before compute), divisions are tried one by one, {@link MOST_DIVISIONS} at most.
 */
export function searchUneven(
  search: AncestorCase,
  profile: FittedProfile,
  even: SearchOutcome,
  space: StrategySpace = strategySpace(search, true),
): SearchOutcome {
  const kindOfLayer = kindsOfLayers(search);
  const { usableMB } = memoryBudget(search.memoryGB);
  const places: Place[] = [];
  const proof: Proof = { complete: even.proven };
  for (const freedom of freedoms(search, profile, space, true, false)) {
    const { tables, sub, allowed, vocabulary, bufferMB } = freedom;
    if (kindOfLayer.length < tables.stages) continue;
    const stages = new StageCosts(stageOptions(tables, allowed, profile.kinds.length), kindOfLayer, proof);
    for (const choice of vocabulary) {
      const budgetMB = choice.memoryMB.map((used) => usableMB - used - bufferMB);
      const place = { tables, sub, vocabulary: choice, budgetMB, bound: 0, freedom, stages };
      const bound = new Divisions(place, (stage, from, to) =>
        stages.bound(stage, budgetMB[stage]!, from, to),
      ).least();
      if (bound < Infinity) places.push({ ...place, bound });
    }
  }
  places.sort((a, b) => perSample(a) - perSample(b));
  let best = even.best;
  let solved = 0;
  for (const place of places) {
    const fastest = best === null ? Infinity : best.time / best.globalBatch;
    if (perSample(place) >= fastest * (1 - 1e-12)) break;
    solved++;
    best = solve(place, kindOfLayer, usableMB, best) ?? best;
  }
  return { best, candidates: places.length, solved, proven: proof.complete };
}

/** The best plan of one place if it beats `best`. */
function solve(
  place: Place,
  kindOfLayer: Int32Array,
  usableMB: number,
  best: Assignment | null,
): Assignment | null {
  const { tables, freedom, vocabulary, budgetMB, stages } = place;
  let cutoff = best === null ? Infinity : (best.time / best.globalBatch) * tables.globalBatch;
  let found: Assignment | null = null;
  const options = stageOptions(tables, freedom.allowed, stages.kinds);
  const attempt = (division: readonly number[]): number => {
    const set = stageSet(tables, options, kindOfLayer, division);
    const solution = solveEven(tables, set, vocabulary.unsynced, budgetMB, cutoff, stages.proof);
    if (solution === null) return Infinity;
    cutoff = solution.time;
    found = assignmentOf(place, kindOfLayer, set, solution, usableMB);
    return solution.time;
  };
  // a first stage with less exposed synchronisation may pay; every round allows strictly less of it
  let allowance = Infinity;
  let laterExposed = false;
  for (;;) {
    const limit = allowance + vocabulary.unsynced[0]!;
    const divisions = new Divisions(place, (stage, from, to) =>
      stages.exact(stage, budgetMB[stage]!, from, to, stage === 0 ? limit : Infinity),
    );
    const steady = divisions.least();
    if (steady >= cutoff * (1 - 1e-12)) break;
    const division = divisions.division();
    const time = attempt(division);
    const exposed = stages.exposure(0, budgetMB[0]!, 0, division[0]!, limit) - vocabulary.unsynced[0]!;
    if (time > (steady + Math.max(0, exposed)) * (1 + 1e-12)) laterExposed = true;
    if (!(exposed > cutoff * 1e-12) || exposed >= allowance) break;
    allowance = exposed - cutoff * 1e-12;
  }
  if (laterExposed) {
    const time: StageTime = (stage, from, to) => stages.exact(stage, budgetMB[stage]!, from, to, Infinity);
    for (const division of closeDivisions(place, time, () => cutoff)) attempt(division);
  }
  return found;
}

/** Divisions tried one by one at most, where exposed synchronisation of later stages matters. */
const MOST_DIVISIONS: number = 5000;

/** All divisions whose stages together take less than `cutoff()`, at most {@link MOST_DIVISIONS}. */
function* closeDivisions(place: Place, time: StageTime, cutoff: () => number): Generator<readonly number[]> {
  const { tables, vocabulary, stages } = place;
  const last = tables.stages - 1;
  const division: number[] = [];
  let tried = 0;
  function* extend(from: number, sum: number): Generator<readonly number[]> {
    const stage = division.length;
    const longest = stage === last ? stages.depth : stages.depth - (last - stage);
    for (let to = stage === last ? stages.depth : from + 1; to <= longest; to++) {
      const total = sum + time(stage, from, to) + vocabulary.unsynced[stage]!;
      if (tried >= MOST_DIVISIONS) stages.proof.complete = false;
      if (total >= cutoff() || tried >= MOST_DIVISIONS) return;
      division.push(to - from);
      if (stage === last) {
        tried++;
        yield [...division];
      } else yield* extend(to, total);
      division.pop();
    }
  }
  yield* extend(0, 0);
}

/** Least times of stages by the layers they hold, kept for all choices of the vocabulary. */
class StageCosts {
  readonly kinds: number;
  /** Layers of the model. */
  readonly depth: number;
  private readonly options: readonly (readonly LayerOptions[])[];
  readonly proof: Proof;
  private readonly kindOfLayer: Int32Array;
  private readonly exacts = new Map<string, { time: number; exposed: number }>();
  private readonly bounds = new Map<string, ReturnType<typeof stageBound>>();

  constructor(options: readonly (readonly LayerOptions[])[], kindOfLayer: Int32Array, proof: Proof) {
    this.proof = proof;
    this.options = options;
    this.kinds = options[0]!.length;
    this.kindOfLayer = kindOfLayer;
    this.depth = kindOfLayer.length;
  }

  /** Seconds: no choice of the stage's layers is faster. */
  bound(stage: number, budget: number, from: number, to: number): number {
    if (this.kinds === 1) {
      // equal layers: the bound of n layers is n times that of one with an n-th of the memory
      let one = this.bounds.get(String(stage));
      if (one === undefined) {
        one = stageBound(this.options[stage]!, [1], 1, 0);
        this.bounds.set(String(stage), one);
      }
      return (to - from) * boundAt(one, budget / (to - from));
    }
    const counts = kindCounts(this.kindOfLayer, this.kinds, from, to);
    const key = `${stage} ${counts.join()}`;
    let line = this.bounds.get(key);
    if (line === undefined) {
      line = stageBound(this.options[stage]!, counts, 1, 0);
      this.bounds.set(key, line);
    }
    return boundAt(line, budget);
  }

  exact(stage: number, budget: number, from: number, to: number, limit: number): number {
    return this.choice(stage, budget, from, to, limit).time;
  }

  exposure(stage: number, budget: number, from: number, to: number, limit: number): number {
    return this.choice(stage, budget, from, to, limit).exposed;
  }

  private choice(
    stage: number,
    budget: number,
    from: number,
    to: number,
    limit: number,
  ): { time: number; exposed: number } {
    const counts = kindCounts(this.kindOfLayer, this.kinds, from, to);
    const key = `${stage} ${budget} ${limit} ${counts.join()}`;
    let known = this.exacts.get(key);
    if (known === undefined) {
      const chosen = chooseStage(this.options[stage]!, counts, budget, limit, Infinity, this.proof);
      known = chosen === null ? NOTHING : { time: chosen.time, exposed: chosen.exposed };
      this.exacts.set(key, known);
    }
    return known;
  }
}

const NOTHING: { readonly time: number; readonly exposed: number } = { time: Infinity, exposed: 0 };

type StageTime = (stage: number, from: number, to: number) => number;

/** All ways to divide the layers of a place over its stages. */
class Divisions {
  private readonly place: Place;
  private readonly time: StageTime;
  private readonly depth: number;
  private readonly oneKind: boolean;
  /** Least time of the middle stages over layers [from, to), by from (0 for equal layers), then to. */
  private readonly middle = new Map<
    number,
    { readonly least: Float64Array[]; readonly split: Int32Array[] }
  >();
  private best: readonly number[] = [];

  constructor(place: Place, time: StageTime) {
    this.place = place;
    this.time = time;
    this.depth = place.stages.depth;
    this.oneKind = place.stages.kinds === 1;
  }

  /** Least steady step time over all divisions. */
  least(): number {
    const { tables, vocabulary } = this.place;
    const { stages, microBatches } = tables;
    const rest = vocabulary.unsynced;
    let restSum = 0;
    for (const seconds of rest) restSum += seconds;
    const depth = this.depth;
    let best = Infinity;
    if (stages === 1) {
      const own = this.time(0, 0, depth) + rest[0]!;
      this.best = [depth];
      return steadyTime(own, own, own, 1, microBatches);
    }
    for (let first = 1; first <= depth - stages + 1; first++) {
      const firstTime = this.time(0, 0, first);
      // every line of the step time counts the first stage at least once and grows with it
      if (!(firstTime < Infinity) || firstTime >= best) break;
      const reach = stages === 2 ? first : depth - 1;
      for (let lastFrom = stages === 2 ? first : first + stages - 2; lastFrom <= reach; lastFrom++) {
        const lastTime = this.time(stages - 1, lastFrom, depth);
        if (!(lastTime < Infinity)) continue;
        const middleTime = stages === 2 ? 0 : this.middleTime(first, lastFrom);
        if (!(middleTime < Infinity)) continue;
        const value = steadyTime(
          firstTime + rest[0]!,
          firstTime + middleTime + lastTime + restSum,
          lastTime + rest[stages - 1]!,
          stages,
          microBatches,
        );
        if (value < best) {
          best = value;
          this.best = [first, lastFrom];
        }
      }
    }
    return best;
  }

  /** Layers per stage of the division that `least` found. */
  division(): number[] {
    const { stages } = this.place.tables;
    if (stages === 1) return [this.depth];
    const [first, lastFrom] = this.best as [number, number];
    if (stages === 2) return [first, this.depth - first];
    const origin = this.oneKind ? 0 : first;
    const table = this.middle.get(origin)!;
    const middle: number[] = [];
    let to = lastFrom - first;
    for (let m = stages - 3; m >= 0; m--) {
      const from = m === 0 ? 0 : table.split[m]![to]!;
      middle.unshift(to - from);
      to = from;
    }
    return [first, ...middle, this.depth - lastFrom];
  }

  private middleTime(first: number, lastFrom: number): number {
    const origin = this.oneKind ? 0 : first;
    let table = this.middle.get(origin);
    if (table === undefined) {
      table = this.middleTable(first);
      this.middle.set(origin, table);
    }
    return table.least[this.place.tables.stages - 3]![lastFrom - first]!;
  }

  /** DP over the middle stages: `least[m][k]` is the least time of stages 1 … m + 1 over the k layers after `first`. */
  private middleTable(first: number): { least: Float64Array[]; split: Int32Array[] } {
    const count = this.place.tables.stages - 2;
    const most = this.depth - first - 1;
    const least: Float64Array[] = [];
    const split: Int32Array[] = [];
    for (let m = 0; m < count; m++) {
      const row = new Float64Array(most + 1).fill(Infinity);
      const from = new Int32Array(most + 1);
      for (let k = m + 1; k <= most; k++) {
        if (m === 0) {
          row[k] = this.time(1, first, first + k);
          continue;
        }
        const before = least[m - 1]!;
        for (let cut = m; cut < k; cut++) {
          if (!(before[cut]! < row[k]!)) continue;
          const value = before[cut]! + this.time(m + 1, first + cut, first + k);
          if (value < row[k]!) {
            row[k] = value;
            from[k] = cut;
          }
        }
      }
      least.push(row);
      split.push(from);
    }
    return { least, split };
  }
}
