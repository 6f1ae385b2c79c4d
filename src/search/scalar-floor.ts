import type { Addend } from "./shape-table.js";

/** Strategies of one kind by one cost: what of them no other beats. */
interface Item {
  readonly ms: number;
  readonly bytes: number;
  readonly peakBytes: number;
}

/** Some layers by their cost: bytes that add up, with and without the peak. */
interface Point {
  readonly ms: number;
  readonly sumBytes: number;
  readonly totalBytes: number;
}

function undominatedItems(items: readonly Item[]): Item[] {
  return items.filter(
    (one, index) =>
      !items.some(
        (other, at) =>
          other.ms <= one.ms &&
          other.bytes <= one.bytes &&
          other.peakBytes <= one.peakBytes &&
          (at < index || other.ms < one.ms || other.bytes < one.bytes || other.peakBytes < one.peakBytes),
      ),
  );
}

function frontier(points: Point[]): Point[] {
  points.sort((a, b) => a.ms - b.ms || a.totalBytes - b.totalBytes || a.sumBytes - b.sumBytes);
  const kept: Point[] = [];
  // Staircase of what was kept: sums ascending, totals descending.
  const sums: number[] = [];
  const totals: number[] = [];
  for (const point of points) {
    let low = 0;
    let high = sums.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! <= point.sumBytes) low = middle + 1;
      else high = middle;
    }
    if (low > 0 && totals[low - 1]! <= point.totalBytes) continue;
    let end = low;
    while (end < sums.length && totals[end]! >= point.totalBytes) end++;
    sums.splice(low, end - low, point.sumBytes);
    totals.splice(low, end - low, point.totalBytes);
    kept.push(point);
  }
  return kept;
}

/**
 * Exact least cost of the first ℓ layers of `kinds` within a budget, whatever the layouts: entry ℓ. Infinite where
 * they do not fit, and from the first length on whose cost is beyond `limitMs`.
 */
export function scalarFloor(
  choices: ReadonlyMap<string, readonly Addend[]>,
  kinds: readonly string[],
  held: number,
  budgetBytes: number,
  limitMs: number,
  cost: (one: Addend) => number,
): Float64Array {
  const items = new Map(
    [...choices].map(([kind, list]) => [
      kind,
      undominatedItems(
        list.map((one) => ({
          ms: cost(one),
          bytes: one.stateBytes + held * one.activationBytes,
          peakBytes: one.peakBytes,
        })),
      ),
    ]),
  );
  const floor = new Float64Array(kinds.length + 1).fill(Number.POSITIVE_INFINITY);
  floor[0] = 0;
  let points: Point[] = [{ ms: 0, sumBytes: 0, totalBytes: 0 }];
  for (const [index, kind] of kinds.entries()) {
    const next: Point[] = [];
    for (const { ms, sumBytes, totalBytes } of points) {
      const peak = totalBytes - sumBytes;
      for (const item of items.get(kind)!) {
        const sum = sumBytes + item.bytes;
        const total = sum + Math.max(peak, item.peakBytes);
        if (total <= budgetBytes && ms + item.ms <= limitMs)
          next.push({ ms: ms + item.ms, sumBytes: sum, totalBytes: total });
      }
    }
    points = frontier(next);
    if (points.length === 0) break;
    floor[index + 1] = points[0]!.ms;
  }
  return floor;
}
