import type { LayerOptions } from "./stage-choice.js";

/**
 * The least weighted cost of a stage as a function of its memory, with layers allowed to be fractions of two
 * strategies: a convex, falling line of segments. A lower bound for whole layers, found by a walk.
 */
export interface StageBound {
  /** Memory and cost where memory is least. */
  readonly leastMemory: number;
  readonly cost: number;
  /** Segments by falling slope: memory that each takes, and the cost that it saves per MB. */
  readonly memory: Float64Array;
  readonly slope: Float64Array;
}

/** Builds the bound of `count` layers of every kind, for cost `timeWeight * time + exposedWeight * exposed`. */
export function stageBound(
  kinds: readonly LayerOptions[],
  counts: ArrayLike<number>,
  timeWeight: number,
  exposedWeight: number,
): StageBound {
  let leastMemory = 0;
  let cost = 0;
  const segments: { memory: number; slope: number }[] = [];
  for (let k = 0; k < kinds.length; k++) {
    const count = counts[k]!;
    if (count === 0) continue;
    const { time, exposed, memory, order } = kinds[k]!;
    if (order.length === 0) return { leastMemory: Infinity, cost: Infinity, memory: EMPTY, slope: EMPTY };
    // lower hull over options by rising memory
    const hull: number[] = [];
    const weighted = (i: number): number => timeWeight * time[i]! + exposedWeight * exposed[i]!;
    for (const i of order) {
      const own = weighted(i);
      if (hull.length > 0 && own >= weighted(hull[hull.length - 1]!)) continue;
      while (hull.length > 0) {
        const last = hull[hull.length - 1]!;
        if (memory[last]! === memory[i]!) {
          hull.pop();
          continue;
        }
        if (hull.length < 2) break;
        const before = hull[hull.length - 2]!;
        const rising = (weighted(before) - weighted(last)) * (memory[i]! - memory[last]!);
        const next = (weighted(last) - own) * (memory[last]! - memory[before]!);
        if (rising > next) break;
        hull.pop();
      }
      hull.push(i);
    }
    leastMemory += count * memory[hull[0]!]!;
    cost += count * weighted(hull[0]!);
    for (let h = 1; h < hull.length; h++) {
      const more = memory[hull[h]!]! - memory[hull[h - 1]!]!;
      segments.push({ memory: count * more, slope: (weighted(hull[h - 1]!) - weighted(hull[h]!)) / more });
    }
  }
  if (kinds.length > 1) segments.sort((a, b) => b.slope - a.slope);
  return {
    leastMemory,
    cost,
    memory: Float64Array.from(segments, (segment) => segment.memory),
    slope: Float64Array.from(segments, (segment) => segment.slope),
  };
}

const EMPTY: Float64Array = new Float64Array(0);

/** The bound at a budget; `Infinity` where not even the least memory fits. */
export function boundAt(bound: StageBound, budget: number): number {
  let room = budget - bound.leastMemory;
  if (!(room >= 0)) return Infinity;
  let cost = bound.cost;
  for (let i = 0; i < bound.memory.length; i++) {
    const taken = Math.min(room, bound.memory[i]!);
    cost -= taken * bound.slope[i]!;
    room -= taken;
    if (room <= 0) break;
  }
  return cost;
}

/** What one MB less would cost at a budget: the slope of the segment in which it lies, 0 where memory is plenty. */
export function priceAt(bound: StageBound, budget: number): number {
  let room = budget - bound.leastMemory;
  for (let i = 0; i < bound.memory.length; i++) {
    if (room < bound.memory[i]!) return bound.slope[i]!;
    room -= bound.memory[i]!;
  }
  return 0;
}
