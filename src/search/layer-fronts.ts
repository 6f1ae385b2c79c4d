import { type LayerSolution, type LayerTables, TIE } from "./layer-problem.js";

/** Partial assignments of one layer with one last strategy: memory ascending, time strictly descending. */
interface Front {
  memory: number[];
  time: number[];
  /** Index of the label one layer before. */
  parent: number[];
}

/** Closes the gap between the Lagrangian bound and the best assignment known. */
export function refine(
  tables: LayerTables,
  layerKind: Int32Array,
  budget: number,
  price: number,
  completion: Float64Array,
  known: LayerSolution,
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
  if (label < 0) return known;
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
