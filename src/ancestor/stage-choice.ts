import { boundAt, priceAt, type StageBound, stageBound } from "./stage-bound.js";

/** What one layer of a kind may be on a stage. */
export interface LayerOptions {
  /** Seconds without gradient synchronisation, what that adds, and whole MB, by strategy. */
  readonly time: Float64Array;
  readonly exposed: Float64Array;
  readonly memory: Int32Array;
  /** Strategies worth considering, by rising memory (none is beaten in all three numbers). */
  readonly order: readonly number[];
}

/** Chosen layers of a stage. Equal layers are interchangeable, so a choice is a count per kind and strategy. */
export interface StageChoice {
  readonly time: number;
  readonly exposed: number;
  readonly memory: number;
  /** kinds × strategies. */
  readonly counts: Int32Array;
}

/** The options of a kind out of `allowed` strategies, without those that another beats in time, exposure and memory. */
export function layerOptions(
  time: Float64Array,
  exposed: Float64Array,
  memory: Int32Array,
  allowed: readonly number[],
): LayerOptions {
  const order = [...allowed].sort(
    (a, b) => memory[a]! - memory[b]! || time[a]! - time[b]! || exposed[a]! - exposed[b]! || a - b,
  );
  const kept: number[] = [];
  for (const i of order) {
    let beaten = false;
    for (const j of kept) {
      if (time[j]! <= time[i]! && exposed[j]! <= exposed[i]!) {
        beaten = true;
        break;
      }
    }
    if (!beaten) kept.push(i);
  }
  return { time, exposed, memory, order: kept };
}

/** Choices that differ by less than this share are ties. */
const TIE: number = 1e-13;

/** Kept by a search: whether all of its visits came to their end, so that nothing better can exist. */
export interface Proof {
  complete: boolean;
  /** Some plan that was looked at has synchronisation sticking out of a stage after the first. */
  laterExposed: boolean;
  /** Uneven divisions that were tried one by one for it. */
  divisions: number;
}

/** Steps after which a visit is cut short: far more than any profile has needed. */
const MOST_STEPS: number = 5_000_000;

/** Doublings and halvings in search of a price on exposure. */
const PRICE_ROUNDS: number = 8;

/**
 * The choice of least time within `budget` MB whose exposed synchronisation stays within `limit`; null where there is
 * none, or none below `cutoff`. Exact: prices on memory (and on exposure, where it is limited) make every strategy's
 * surplus over the bound known, and only counts whose surplus stays below the gap are visited.
 */
export function chooseStage(
  kinds: readonly LayerOptions[],
  counts: ArrayLike<number>,
  budget: number,
  limit: number,
  cutoff: number,
  proof: Proof,
): StageChoice | null {
  let exposurePrice = 0;
  let bound = stageBound(kinds, counts, 1, 0);
  if (bound.leastMemory > budget) return null;
  if (limit < Infinity) {
    const priced = priceExposure(kinds, counts, budget, limit, bound);
    exposurePrice = priced.price;
    bound = priced.bound;
  }
  const memoryPrice = priceAt(bound, budget);
  const floor = boundAt(bound, budget) - (exposurePrice > 0 ? exposurePrice * limit : 0);
  if (floor >= cutoff) return null;
  const visit = new Visit(kinds, counts, budget, limit, cutoff, floor, memoryPrice, exposurePrice);
  visit.walk(0, 0, 0, 0, 0, visit.left[0] ?? 0);
  if (visit.steps > MOST_STEPS) proof.complete = false;
  return visit.choice();
}

/** The price on exposure that makes the bound (near) greatest: any price is valid, a good one prunes more. */
function priceExposure(
  kinds: readonly LayerOptions[],
  counts: ArrayLike<number>,
  budget: number,
  limit: number,
  free: StageBound,
): { price: number; bound: StageBound } {
  let best = { price: 0, bound: free };
  let value = boundAt(free, budget);
  const attempt = (price: number): boolean => {
    const bound = stageBound(kinds, counts, 1, price);
    const here = boundAt(bound, budget) - price * limit;
    if (!(here > value)) return false;
    best = { price, bound };
    value = here;
    return true;
  };
  let step = 1;
  let last = 0;
  for (let round = 0; round < PRICE_ROUNDS; round++) {
    if (!attempt(last + step)) break;
    last += step;
    step *= 2;
  }
  // the bound is concave in the price: narrow around the best one
  for (let round = 0; round < PRICE_ROUNDS; round++) {
    step /= 2;
    if (!attempt(best.price + step) && best.price > step) attempt(best.price - step);
  }
  return best;
}

/** A depth-first visit of counts, options of a kind from dear to free. */
class Visit {
  private readonly kindOf: number[] = [];
  private readonly option: number[] = [];
  private readonly time: number[] = [];
  private readonly exposed: number[] = [];
  private readonly memory: number[] = [];
  private readonly surplus: number[] = [];
  /** Position of the last option of the same kind. */
  private readonly lastOf: number[] = [];
  /** Layers of the kind that starts at a position. */
  readonly left: number[] = [];
  /** Least memory and exposure of one layer among this and later options of the kind. */
  private readonly leastMemory: number[] = [];
  private readonly leastExposed: number[] = [];
  /** Least memory and exposure of all later kinds. */
  private readonly memoryAfter: number[] = [];
  private readonly exposedAfter: number[] = [];
  private readonly strategies: number;
  private readonly kinds: number;
  private readonly current: Int32Array;
  private readonly best: Int32Array;
  private bestTime: number;
  /** Choices must take less time than this to count as better. */
  private enough: number;
  private bestExposed = 0;
  private bestMemory = 0;
  private found = false;
  steps = 0;
  private readonly budget: number;
  private readonly limit: number;
  private readonly floor: number;

  constructor(
    kinds: readonly LayerOptions[],
    counts: ArrayLike<number>,
    budget: number,
    limit: number,
    cutoff: number,
    floor: number,
    memoryPrice: number,
    exposurePrice: number,
  ) {
    this.budget = budget;
    this.limit = limit;
    this.floor = floor;
    this.bestTime = cutoff;
    this.enough = cutoff * (1 - TIE);
    this.kinds = kinds.length;
    this.strategies = kinds[0]!.time.length;
    for (let k = 0; k < kinds.length; k++) {
      if (counts[k]! > 0) this.addKind(k, kinds[k]!, counts[k]!, memoryPrice, exposurePrice);
    }
    const size = this.option.length;
    this.current = new Int32Array(size);
    this.best = new Int32Array(size);
    let memoryAfter = 0;
    let exposedAfter = 0;
    for (let p = size - 1; p >= 0; p--) {
      this.memoryAfter[p] = memoryAfter;
      this.exposedAfter[p] = exposedAfter;
      const first = p === 0 || this.kindOf[p - 1] !== this.kindOf[p];
      const last = this.lastOf[p] === p;
      this.leastMemory[p] = last ? this.memory[p]! : Math.min(this.memory[p]!, this.leastMemory[p + 1]!);
      this.leastExposed[p] = last ? this.exposed[p]! : Math.min(this.exposed[p]!, this.leastExposed[p + 1]!);
      if (first) {
        memoryAfter += this.left[p]! * this.leastMemory[p]!;
        exposedAfter += this.left[p]! * this.leastExposed[p]!;
      }
    }
  }

  private addKind(
    k: number,
    kind: LayerOptions,
    count: number,
    memoryPrice: number,
    exposurePrice: number,
  ): void {
    const cost = (i: number): number =>
      kind.time[i]! + memoryPrice * kind.memory[i]! + exposurePrice * kind.exposed[i]!;
    let least = Infinity;
    for (const i of kind.order) least = Math.min(least, cost(i));
    const sorted = [...kind.order].sort((a, b) => cost(b) - cost(a) || b - a);
    const start = this.option.length;
    for (const i of sorted) {
      this.kindOf.push(k);
      this.option.push(i);
      this.time.push(kind.time[i]!);
      this.exposed.push(kind.exposed[i]!);
      this.memory.push(kind.memory[i]!);
      this.surplus.push(cost(i) - least);
      this.lastOf.push(start + sorted.length - 1);
      this.left.push(count);
    }
  }

  /** `left` layers of the kind at position `p` are still to be given out. */
  walk(p: number, time: number, exposed: number, memory: number, surplus: number, left: number): void {
    if (this.steps++ > MOST_STEPS) return;
    const room = this.budget - memory - this.memoryAfter[p]!;
    if (left * this.leastMemory[p]! > room) return;
    if (exposed + left * this.leastExposed[p]! + this.exposedAfter[p]! > this.limit) return;
    const last = this.lastOf[p]!;
    const end = last === this.option.length - 1;
    if (p === last) {
      this.current[p] = left;
      const total = time + left * this.time[p]!;
      const shown = exposed + left * this.exposed[p]!;
      const held = memory + left * this.memory[p]!;
      if (end) this.offer(total, shown, held);
      else this.walk(p + 1, total, shown, held, surplus + left * this.surplus[p]!, this.left[p + 1]!);
      return;
    }
    if (end && p === last - 1) {
      this.finish(p, time, exposed, memory, left);
      return;
    }
    const own = this.surplus[p]!;
    for (let n = 0; n <= left; n++) {
      const total = surplus + n * own;
      if (this.floor + total >= this.enough) break;
      this.current[p] = n;
      this.walk(
        p + 1,
        time + n * this.time[p]!,
        exposed + n * this.exposed[p]!,
        memory + n * this.memory[p]!,
        total,
        left - n,
      );
    }
  }

  /** The last two options share what is left: the best share lies at an end of what memory and exposure allow. */
  private finish(p: number, time: number, exposed: number, memory: number, left: number): void {
    const q = p + 1;
    let low = 0;
    let high = left;
    const restrict = (base: number, step: number, most: number): void => {
      if (step > 0) high = Math.min(high, Math.floor((most - base) / step));
      else if (step < 0) low = Math.max(low, Math.ceil((base - most) / -step));
      else if (base > most) high = -1;
    };
    restrict(memory + left * this.memory[q]!, this.memory[p]! - this.memory[q]!, this.budget);
    if (this.limit < Infinity) {
      restrict(exposed + left * this.exposed[q]!, this.exposed[p]! - this.exposed[q]!, this.limit);
    }
    if (low > high) return;
    const n = this.time[p]! < this.time[q]! ? high : low;
    this.current[p] = n;
    this.current[q] = left - n;
    this.offer(
      time + n * this.time[p]! + (left - n) * this.time[q]!,
      exposed + n * this.exposed[p]! + (left - n) * this.exposed[q]!,
      memory + n * this.memory[p]! + (left - n) * this.memory[q]!,
    );
  }

  private offer(time: number, exposed: number, memory: number): void {
    if (!(time < this.enough) || memory > this.budget || exposed > this.limit + TIE) return;
    this.found = true;
    this.bestTime = time;
    this.enough = time * (1 - TIE);
    this.bestExposed = exposed;
    this.bestMemory = memory;
    this.best.set(this.current);
  }

  choice(): StageChoice | null {
    if (!this.found) return null;
    const counts = new Int32Array(this.kinds * this.strategies);
    for (let p = 0; p < this.option.length; p++) {
      counts[this.kindOf[p]! * this.strategies + this.option[p]!] = this.best[p]!;
    }
    return { time: this.bestTime, exposed: this.bestExposed, memory: this.bestMemory, counts };
  }
}
