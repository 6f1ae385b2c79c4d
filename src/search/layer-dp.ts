import { refine } from "./layer-fronts.js";
import { type LayerSolution, type LayerTables, TIE } from "./layer-problem.js";

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
  const walk = (timeWeight: number, price: number): LayerSolution =>
    bestPath(tables, layerKind, timeWeight, price, completion, next);

  let slim = walk(0, 1);
  if (!(slim.memory <= budget) || slim.time === Infinity) return null;
  let fast = walk(1, 0);
  if (fast.memory <= budget) return fast;
  let best = slim;
  let price = 0;
  for (let round = 0; round < ROUNDS; round++) {
    if (slim.time <= fast.time) return slim;
    price = (slim.time - fast.time) / (fast.memory - slim.memory);
    const path = walk(1, price);
    const value = path.time + price * path.memory;
    const line = slim.time + price * slim.memory;
    if (value - price * budget >= best.time - TIE * Math.abs(best.time)) return best;
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
  head: LayerSolution,
  tail: LayerSolution,
): LayerSolution | null {
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
): LayerSolution {
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
