/**
 * The layer problem: one strategy per layer, so that the sum of layer times and switch times is least and the
 * memory of all layers together stays within a budget. Rows of the tables belong to kinds of layers, because
 * equal layers have equal rows.
 */
export interface LayerTables {
  /** Number of strategies S: columns of every table. */
  readonly strategies: number;
  /** Time of a layer, kinds × S, any one unit. `Infinity` forbids the strategy for that kind. */
  readonly time: Float64Array;
  /** Memory of a layer, kinds × S, whole units (the ancestor counts whole MB). */
  readonly memory: Int32Array;
  /** Time of entering a layer of a kind, kinds × S (before) × S (of that layer). */
  readonly switchTime: Float64Array;
}

export interface LayerSolution {
  /** Least sum of layer and switch times. */
  readonly time: number;
  /** Memory of the chosen strategies, at most the budget. */
  readonly memory: number;
  /** Strategy of every layer. */
  readonly strategies: Int32Array;
}

/** Differences below this share of the optimum count as ties. */
const TIE: number = 1e-12;

/** The line search ends by itself; this many rounds end it also where rounding would keep it going. */
const ROUNDS: number = 100;

/**
 * Solves the layer problem exactly: to within a relative 1e-12 no assignment is faster. Returns null where nothing fits.
 *
 * A Lagrange multiplier λ puts a price on memory; the best λ (found by the line search of Handler & Zang, "A dual
 * algorithm for the constrained shortest path problem", Networks 10, 1980) gives a lower bound for every way to
 * finish a partial assignment. Partial assignments, kept as Pareto fronts of memory and time per last strategy, go
 * on only if their bound is below the best complete assignment known, which leaves few of them: the work no
 * longer grows with the size of the budget, as it does on a grid of memory cells.
 *
 * @param layerKind table row of every layer, in order; the first layer is entered without a switch
 */
export function solveLayers(
  tables: LayerTables,
  layerKind: Int32Array,
  budget: number,
): LayerSolution | null {
  const layers = layerKind.length;
  const count = tables.strategies;
  const completion = new Float64Array(layers * count);
  const next = new Int32Array(layers * count);
  const walk = (timeWeight: number, price: number): Path =>
    bestPath(tables, layerKind, timeWeight, price, completion, next);

  let slim = walk(0, 1);
  if (!(slim.memory <= budget) || slim.time === Infinity) return null;
  let fast = walk(1, 0);
  if (fast.memory <= budget) return solution(fast);
  let best = slim;
  let price = 0;
  for (let round = 0; round < ROUNDS; round++) {
    if (slim.time <= fast.time) return solution(slim);
    price = (slim.time - fast.time) / (fast.memory - slim.memory);
    const path = walk(1, price);
    const value = path.time + price * path.memory;
    const line = slim.time + price * slim.memory;
    if (value - price * budget >= best.time - TIE * Math.abs(best.time)) return solution(best);
    if (value >= line - TIE * Math.abs(line)) break;
    if (path.memory <= budget) {
      slim = path;
      if (path.time < best.time) best = path;
    } else fast = path;
  }
  for (const mixed of [
    crossed(tables, layerKind, budget, fast, slim),
    crossed(tables, layerKind, budget, slim, fast),
  ]) {
    if (mixed !== null && mixed.time < best.time) best = mixed;
  }
  return refine(tables, layerKind, budget, price, completion, best);
}

/**
 * The fastest assignment within the budget that starts as `head` and ends as `tail`; null where none fits. With equal
 * layers the two paths at the best price differ in every layer, and the best crossing is nearly optimal.
 */
function crossed(
  tables: LayerTables,
  layerKind: Int32Array,
  budget: number,
  head: Path,
  tail: Path,
): Path | null {
  const { strategies: count, time, memory, switchTime } = tables;
  const layers = layerKind.length;
  const enter = (layer: number, before: number, own: number): number =>
    layer === 0 ? 0 : switchTime[(layerKind[layer]! * count + before) * count + own]!;
  let headTime = 0;
  let headMemory = 0;
  let tailTime = tail.time;
  let tailMemory = tail.memory;
  let least = Infinity;
  let cut = -1;
  // the first `layer` layers are of `head`; `tailTime` counts layers from `layer` on, without entering the first of them
  for (let layer = 0; layer < layers; layer++) {
    const of = tail.strategies[layer]!;
    const before = layer === 0 ? 0 : head.strategies[layer - 1]!;
    if (headMemory + tailMemory <= budget) {
      const total = headTime + enter(layer, before, of) + tailTime;
      if (total < least) {
        least = total;
        cut = layer;
      }
    }
    const row = layerKind[layer]! * count;
    const own = head.strategies[layer]!;
    headTime += enter(layer, before, own) + time[row + own]!;
    headMemory += memory[row + own]!;
    tailTime -= time[row + of]!;
    if (layer + 1 < layers) tailTime -= enter(layer + 1, of, tail.strategies[layer + 1]!);
    tailMemory -= memory[row + of]!;
  }
  if (cut < 0) return null;
  const strategies = Int32Array.from(tail.strategies);
  strategies.set(head.strategies.subarray(0, cut));
  let total = 0;
  let held = 0;
  for (let layer = 0; layer < layers; layer++) {
    const own = strategies[layer]!;
    const row = layerKind[layer]! * count;
    total = total + enter(layer, layer === 0 ? 0 : strategies[layer - 1]!, own) + time[row + own]!;
    held += memory[row + own]!;
  }
  return { time: total, memory: held, strategies };
}

interface Path {
  readonly time: number;
  readonly memory: number;
  readonly strategies: Int32Array;
}

function solution(path: Path): LayerSolution {
  return { time: path.time, memory: path.memory, strategies: path.strategies };
}

/**
 * The assignment that is least in `timeWeight * time + price * memory`. Fills `completion[layer * S + s]` with the
 * least weighted cost of the layers after `layer` when it has strategy `s`.
 */
function bestPath(
  tables: LayerTables,
  layerKind: Int32Array,
  timeWeight: number,
  price: number,
  completion: Float64Array,
  next: Int32Array,
): Path {
  const { strategies: count, time, memory, switchTime } = tables;
  const layers = layerKind.length;
  const entered = new Float64Array(count);
  completion.fill(0, (layers - 1) * count);
  for (let layer = layers - 2; layer >= 0; layer--) {
    const kind = layerKind[layer + 1]!;
    const row = kind * count;
    const below = (layer + 1) * count;
    for (let s = 0; s < count; s++)
      entered[s] = weigh(timeWeight, time[row + s]!, price, memory[row + s]!) + completion[below + s]!;
    const table = kind * count * count;
    for (let from = 0; from < count; from++) {
      let least = Infinity;
      let chosen = 0;
      const switches = table + from * count;
      for (let to = 0; to < count; to++) {
        const value = timeWeight * switchTime[switches + to]! + entered[to]!;
        if (value < least) {
          least = value;
          chosen = to;
        }
      }
      completion[layer * count + from] = least;
      next[layer * count + from] = chosen;
    }
  }
  const firstRow = layerKind[0]! * count;
  let least = Infinity;
  let strategy = 0;
  for (let s = 0; s < count; s++) {
    const value = weigh(timeWeight, time[firstRow + s]!, price, memory[firstRow + s]!) + completion[s]!;
    if (value < least) {
      least = value;
      strategy = s;
    }
  }
  const chosen = new Int32Array(layers);
  let totalTime = time[firstRow + strategy]!;
  let totalMemory = memory[firstRow + strategy]!;
  chosen[0] = strategy;
  for (let layer = 1; layer < layers; layer++) {
    const before = strategy;
    strategy = next[(layer - 1) * count + before]!;
    chosen[layer] = strategy;
    const kind = layerKind[layer]!;
    totalTime =
      totalTime + switchTime[(kind * count + before) * count + strategy]! + time[kind * count + strategy]!;
    totalMemory += memory[kind * count + strategy]!;
  }
  return { time: totalTime, memory: totalMemory, strategies: chosen };
}

/** A forbidden strategy (infinite time) stays forbidden under a time weight of zero. */
function weigh(timeWeight: number, time: number, price: number, memory: number): number {
  return time === Infinity ? Infinity : timeWeight * time + price * memory;
}

/** Partial assignments of one layer with one last strategy: memory ascending, time strictly descending. */
interface Front {
  memory: number[];
  time: number[];
  /** Index of the label one layer before. */
  parent: number[];
}

/** Closes the gap between the Lagrangian bound and the best assignment known. */
function refine(
  tables: LayerTables,
  layerKind: Int32Array,
  budget: number,
  price: number,
  completion: Float64Array,
  known: Path,
): LayerSolution {
  const { strategies: count, time, memory, switchTime } = tables;
  const layers = layerKind.length;
  const limit = known.time - TIE * Math.abs(known.time) + price * budget;
  const least = leastMemoryAfter(tables, layerKind);
  const lead = switchLead(tables);

  const parents: number[] = [];
  const strategyOf: number[] = [];
  let fronts: Front[] = [];
  let firstLabel: number[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const kind = layerKind[layer]!;
    const nextFronts: Front[] = [];
    const nextFirst: number[] = [];
    const room = budget - least[layer]!;
    for (let s = 0; s < count; s++) {
      const ownTime = time[kind * count + s]!;
      const ownMemory = memory[kind * count + s]!;
      const ceiling = limit - completion[layer * count + s]!;
      let front: Front = { memory: [], time: [], parent: [] };
      if (layer === 0) {
        if (ownMemory <= room && ownTime + price * ownMemory < ceiling) {
          front.memory.push(ownMemory);
          front.time.push(ownTime);
          front.parent.push(-1);
        }
      } else {
        for (let from = 0; from < count; from++) {
          const source = fronts[from]!;
          if (source.memory.length === 0) continue;
          const step = switchTime[(kind * count + from) * count + s]!;
          front = merge(front, source, firstLabel[from]!, step, ownTime, ownMemory, room, price, ceiling);
        }
      }
      nextFronts.push(front);
    }
    if (layer + 1 < layers) dropBeaten(nextFronts, lead, count);
    for (let s = 0; s < count; s++) {
      nextFirst.push(parents.length);
      for (const parent of nextFronts[s]!.parent) {
        parents.push(parent);
        strategyOf.push(s);
      }
    }
    fronts = nextFronts;
    firstLabel = nextFirst;
  }

  let bestTime = known.time;
  let bestMemory = known.memory;
  let label = -1;
  for (let s = 0; s < count; s++) {
    const front = fronts[s]!;
    for (let i = 0; i < front.time.length; i++) {
      if (front.time[i]! < bestTime) {
        bestTime = front.time[i]!;
        bestMemory = front.memory[i]!;
        label = firstLabel[s]! + i;
      }
    }
  }
  if (label < 0) return solution(known);
  const strategies = new Int32Array(layers);
  for (let layer = layers - 1; layer >= 0; layer--) {
    strategies[layer] = strategyOf[label]!;
    label = parents[label]!;
  }
  return { time: bestTime, memory: bestMemory, strategies };
}

/**
 * `lead[a * S + b]`: by how much at most going on from strategy `a` is dearer than going on from `b`, whatever comes.
 */
function switchLead(tables: LayerTables): Float64Array {
  const { strategies: count, switchTime } = tables;
  const lead = new Float64Array(count * count).fill(-Infinity);
  for (let table = 0; table < switchTime.length; table += count * count) {
    for (let a = 0; a < count; a++) {
      for (let b = 0; b < count; b++) {
        let most = lead[a * count + b]!;
        for (let to = 0; to < count; to++) {
          const more = switchTime[table + a * count + to]! - switchTime[table + b * count + to]!;
          if (more > most) most = more;
        }
        lead[a * count + b] = most;
      }
    }
  }
  return lead;
}

/** Drops labels that end in one strategy and are no better than one that ends in another and then switches at worst. */
function dropBeaten(fronts: readonly Front[], lead: Float64Array, count: number): void {
  for (let b = 0; b < count; b++) {
    const front = fronts[b]!;
    for (let a = 0; a < count && front.memory.length > 0; a++) {
      const other = fronts[a]!;
      if (a === b || other.memory.length === 0) continue;
      const more = lead[a * count + b]!;
      let kept = 0;
      let j = -1;
      for (let i = 0; i < front.memory.length; i++) {
        const memory = front.memory[i]!;
        while (j + 1 < other.memory.length && other.memory[j + 1]! <= memory) j++;
        const arrives = j < 0 ? Infinity : other.time[j]! + more;
        const beaten = arrives < front.time[i]! || (arrives === front.time[i]! && a < b);
        if (beaten) continue;
        front.memory[kept] = memory;
        front.time[kept] = front.time[i]!;
        front.parent[kept] = front.parent[i]!;
        kept++;
      }
      front.memory.length = kept;
      front.time.length = kept;
      front.parent.length = kept;
    }
  }
}

/** Least memory of all layers after each layer. */
function leastMemoryAfter(tables: LayerTables, layerKind: Int32Array): Float64Array {
  const after = new Float64Array(layerKind.length);
  for (let layer = layerKind.length - 2; layer >= 0; layer--) {
    const row = layerKind[layer + 1]! * tables.strategies;
    let least = Infinity;
    for (let s = 0; s < tables.strategies; s++) {
      if (tables.time[row + s]! < Infinity) least = Math.min(least, tables.memory[row + s]!);
    }
    after[layer] = after[layer + 1]! + least;
  }
  return after;
}

/** The Pareto front of `front` and of `source` extended by one layer, of those labels whose bound is below `ceiling`. */
function merge(
  front: Front,
  source: Front,
  firstLabel: number,
  step: number,
  ownTime: number,
  ownMemory: number,
  room: number,
  price: number,
  ceiling: number,
): Front {
  const out: Front = { memory: [], time: [], parent: [] };
  let i = 0;
  let j = 0;
  let fastest = Infinity;
  const kept = front.memory.length;
  const offered = source.memory.length;
  while (i < kept || j < offered) {
    const newMemory = j < offered ? source.memory[j]! + ownMemory : Infinity;
    const newTime = j < offered ? source.time[j]! + step + ownTime : Infinity;
    const takeOld =
      i < kept &&
      (front.memory[i]! < newMemory || (front.memory[i]! === newMemory && front.time[i]! <= newTime));
    const memory = takeOld ? front.memory[i]! : newMemory;
    const time = takeOld ? front.time[i]! : newTime;
    const parent = takeOld ? front.parent[i]! : firstLabel + j;
    if (takeOld) i++;
    else j++;
    if (time < fastest && (takeOld || (memory <= room && time + price * memory < ceiling))) {
      out.memory.push(memory);
      out.time.push(time);
      out.parent.push(parent);
      fastest = time;
    }
  }
  return out;
}
