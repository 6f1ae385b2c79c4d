import { type Weights, weighted } from "./stage-table.js";

/**
 * A way to place some layers of a stage: what it costs, and how it came about. Labels form chains: `previous` is the
 * same stage with one layer less.
 */
export interface Label {
  /** Bytes that add up over layers. */
  readonly sumBytes: number;
  /** `sumBytes` plus the largest of the bytes of which only the peak counts. */
  readonly peakBytes: number;
  /** The weighted time that the search ranks labels by. */
  readonly rankMs: number;
  readonly forwardMs: number;
  readonly backwardMs: number;
  /** Of the last layer. */
  readonly leadMs: number;
  readonly reduceMs: number;
  readonly afterMs: number;
  /** Index of the strategy of the last layer, in the list of its kind. */
  readonly strategy: number;
  /** Layouts of the first and of the last layer, by number. */
  readonly first: number;
  readonly last: number;
  readonly previous: Label | null;
}

function compare(a: Label, b: Label): number {
  return (
    a.rankMs - b.rankMs ||
    a.peakBytes - b.peakBytes ||
    a.sumBytes - b.sumBytes ||
    a.afterMs - b.afterMs ||
    a.strategy - b.strategy
  );
}

/**
 * Labels that no other label beats in ranking time and memory at once. Both kinds of bytes count: a label with
 * less now may have more once a layer with a higher peak joins.
 */
export function rankFrontier(labels: Label[]): Label[] {
  if (labels.length <= 1) return labels;
  labels.sort(compare);
  const kept: Label[] = [];
  // Staircase of what was kept: sums ascending, peaks descending.
  const sums: number[] = [];
  const peaks: number[] = [];
  for (const label of labels) {
    let low = 0;
    let high = sums.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! <= label.sumBytes) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && peaks[low - 1]! <= label.peakBytes) continue;
    let end = low;
    while (end < sums.length && peaks[end]! >= label.peakBytes) end++;
    sums.splice(low, end - low, label.sumBytes);
    peaks.splice(low, end - low, label.peakBytes);
    kept.push(label);
  }
  return kept;
}

/**
 * Labels that no other beats in all of some costs, in memory and in lead. The cost that labels are ranked by is one
 * of them without being named: they are looked at in its order.
 */
export function costFrontier(labels: Label[], costs: readonly Weights[]): Label[] {
  if (labels.length <= 1) return labels;
  labels.sort(compare);
  const kept: Label[] = [];
  const width = 3 + costs.length;
  const rows = new Float64Array(labels.length * width);
  const row = new Float64Array(width);
  const order = new Int32Array(labels.length);
  next: for (const label of labels) {
    row[0] = label.sumBytes;
    row[1] = label.peakBytes;
    row[2] = -label.leadMs;
    for (let c = 0; c < costs.length; c++) row[3 + c] = weighted(costs[c]!, label);
    search: for (let i = 0; i < kept.length; i++) {
      const at = order[i]! * width;
      for (let c = 0; c < width; c++) if (rows[at + c]! > row[c]!) continue search;
      // What beats one often beats the next: it is asked sooner.
      const sooner = i >> 1;
      const moved = order[sooner]!;
      order[sooner] = order[i]!;
      order[i] = moved;
      continue next;
    }
    rows.set(row, kept.length * width);
    order[kept.length] = kept.length;
    kept.push(label);
  }
  return kept;
}

/** The frontier in ranking time and memory of labels with equal leads: a lead counts at the end of a stage only. */
export function ledFrontier(labels: Label[]): Label[] {
  const byLead = new Map<number, Label[]>();
  for (const label of labels) {
    const list = byLead.get(label.leadMs);
    if (list) list.push(label);
    else byLead.set(label.leadMs, [label]);
  }
  return [...byLead.values()].flatMap(rankFrontier);
}

/**
 * What it can cost a label to stand in for one of another layout, one way: the most by which any way on from its
 * layout is dearer than the same way on from the other's. `Infinity` where it must not stand in.
 */
export interface StandIn {
  /** By first layouts, then by last layouts. */
  readonly first: readonly (readonly number[])[];
  readonly last: readonly (readonly number[])[];
}

/** Labels that no label of any layout beats, its stand-in cost counted, in ranking time and memory. */
export function rankStandIns(labels: Label[], standIn: StandIn, { forward, backward }: Weights): Label[] {
  return standing(
    labels,
    standIn,
    (other, label, penalty) => other.rankMs + (forward + backward) * penalty <= label.rankMs,
  );
}

/** The same in all of some costs, of which one must be what labels are ranked by. */
export function costStandIns(labels: Label[], standIn: StandIn, costs: readonly Weights[]): Label[] {
  const change = costs.map(({ forward, backward }) => forward + backward);
  const values = new Map(labels.map((label) => [label, costs.map((cost) => weighted(cost, label))]));
  return standing(labels, standIn, (other, label, penalty) => {
    const a = values.get(other)!;
    const b = values.get(label)!;
    for (let c = 0; c < change.length; c++) if (a[c]! + change[c]! * penalty > b[c]!) return false;
    return true;
  });
}

function standing(
  labels: Label[],
  standIn: StandIn,
  beats: (other: Label, label: Label, penalty: number) => boolean,
): Label[] {
  labels.sort(compare);
  const kept: Label[] = [];
  next: for (const label of labels) {
    const { sumBytes, peakBytes, first, last } = label;
    for (const other of kept) {
      if (other.sumBytes > sumBytes || other.peakBytes > peakBytes) continue;
      const penalty = standIn.first[other.first]![first]! + standIn.last[other.last]![last]!;
      if (beats(other, label, penalty)) continue next;
    }
    kept.push(label);
  }
  return kept;
}

/** Strategy numbers of a label's layers, first to last. */
export function labelStrategies(label: Label): number[] {
  const result: number[] = [];
  for (let at: Label | null = label; at; at = at.previous) result.push(at.strategy);
  return result.reverse();
}
