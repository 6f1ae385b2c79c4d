import { steadyTime } from "./cost/pipeline-time.js";
import { firstWeights, laterTime } from "./even-search.js";

/** Seconds of a stage that holds layers [from, to). */
export type StageTime = (stage: number, from: number, to: number) => number;

/** Least `weight` × time + exposed synchronisation of a first stage of the layers before `to`. */
export type FirstWithSync = (weight: number, to: number) => number;

/** Where the first stage ends and the last begins. */
export interface Ends {
  readonly first: number;
  readonly lastFrom: number;
  readonly bound: number;
}

/** What a division has to serve. */
export interface DivisionProblem {
  readonly stages: number;
  readonly microBatches: number;
  /** Seconds of embedding and head by stage. */
  readonly rest: readonly number[];
  readonly depth: number;
  /** All layers are equal, so that only how many a stage holds matters. */
  readonly oneKind: boolean;
}

/** All ways to divide layers over stages, and the best of them. */
export class Divisions {
  private readonly problem: DivisionProblem;
  private readonly time: StageTime;
  /** Least time of the middle stages over layers [from, to), by from (0 for equal layers), then to. */
  private readonly middle = new Map<
    number,
    { readonly least: Float64Array[]; readonly split: Int32Array[] }
  >();
  private readonly withSync: FirstWithSync;

  constructor(problem: DivisionProblem, time: StageTime, withSync: FirstWithSync) {
    this.problem = problem;
    this.time = time;
    this.withSync = withSync;
  }

  /** Every end pair whose bound is below `cutoff`, the most promising first. */
  ends(cutoff: number): readonly Ends[] {
    const { stages, depth } = this.problem;
    const found: Ends[] = [];
    if (stages === 1) {
      const bound = this.bound(depth, depth, cutoff);
      return bound < cutoff ? [{ first: depth, lastFrom: depth, bound }] : [];
    }
    for (let first = 1; first <= depth - stages + 1; first++) {
      // every line of the step time counts the first stage at least once and grows with it
      if (!(this.time(0, 0, first) < cutoff)) break;
      const reach = stages === 2 ? first : depth - 1;
      for (let lastFrom = first + stages - 2; lastFrom <= reach; lastFrom++) {
        const bound = this.bound(first, lastFrom, cutoff);
        if (bound < cutoff) found.push({ first, lastFrom, bound });
      }
    }
    return found.sort((x, y) => x.bound - y.bound);
  }

  /**
   * Seconds: no plan whose first stage ends before `first` and whose last begins at `lastFrom` is faster. Any number
   * not below `cutoff` may stand for one that is larger still.
   */
  bound(first: number, lastFrom: number, cutoff: number): number {
    const { stages, rest, depth } = this.problem;
    const firstTime = this.time(0, 0, first) + rest[0]!;
    if (stages === 1 || !(firstTime < cutoff)) return this.boundOf(first, firstTime, 0, firstTime);
    const last = this.time(stages - 1, lastFrom, depth) + rest[stages - 1]!;
    let later = last;
    for (let stage = 1; stage < stages - 1; stage++) later += rest[stage]!;
    const ends = this.boundOf(first, firstTime, later, last);
    if (stages === 2 || !(ends < cutoff)) return ends;
    return this.boundOf(first, firstTime, later + this.middleTime(first, lastFrom), last);
  }

  private boundOf(first: number, firstTime: number, later: number, last: number): number {
    const { stages, microBatches, rest } = this.problem;
    if (!(firstTime + later < Infinity)) return Infinity;
    let bound = steadyTime(firstTime, firstTime + later, last, stages, microBatches);
    for (const [line, weight] of firstWeights(stages, microBatches).entries()) {
      const own = this.withSync(weight, first) + (weight - 1) * rest[0]!;
      bound = Math.max(bound, own + laterTime(stages, line, later, last, microBatches));
    }
    return bound;
  }

  /** Layers per stage, with the middle stages divided best. */
  division(first: number, lastFrom: number): number[] {
    const { stages, depth } = this.problem;
    if (stages === 1) return [depth];
    if (stages === 2) return [first, depth - first];
    this.middleTime(first, lastFrom);
    const table = this.middle.get(this.problem.oneKind ? 0 : first)!;
    const middle: number[] = [];
    let to = lastFrom - first;
    for (let m = stages - 3; m >= 0; m--) {
      const from = m === 0 ? 0 : table.split[m]![to]!;
      middle.unshift(to - from);
      to = from;
    }
    return [first, ...middle, depth - lastFrom];
  }

  private middleTime(first: number, lastFrom: number): number {
    const origin = this.problem.oneKind ? 0 : first;
    let table = this.middle.get(origin);
    if (table === undefined) {
      table = this.middleTable(first);
      this.middle.set(origin, table);
    }
    return table.least[this.problem.stages - 3]![lastFrom - first]!;
  }

  /** DP over the middle stages: `least[m][k]` is the least time of stages 1 … m + 1 over the k layers after `first`. */
  private middleTable(first: number): { least: Float64Array[]; split: Int32Array[] } {
    const count = this.problem.stages - 2;
    const most = this.problem.depth - first - 1;
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
