import { steadyTime } from "./cost/pipeline-time.js";

/** Seconds of a stage that holds layers [from, to). */
export type StageTime = (stage: number, from: number, to: number) => number;

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
  private best: readonly number[] = [];

  constructor(problem: DivisionProblem, time: StageTime) {
    this.problem = problem;
    this.time = time;
  }

  /** Least steady step time over all divisions. */
  least(): number {
    const { stages, microBatches, rest, depth } = this.problem;
    let restSum = 0;
    for (const seconds of rest) restSum += seconds;
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
    const { stages, depth } = this.problem;
    if (stages === 1) return [depth];
    const [first, lastFrom] = this.best as [number, number];
    if (stages === 2) return [first, this.problem.depth - first];
    const origin = this.problem.oneKind ? 0 : first;
    const table = this.middle.get(origin)!;
    const middle: number[] = [];
    let to = lastFrom - first;
    for (let m = stages - 3; m >= 0; m--) {
      const from = m === 0 ? 0 : table.split[m]![to]!;
      middle.unshift(to - from);
      to = from;
    }
    return [first, ...middle, this.problem.depth - lastFrom];
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
