/** A range of elements whose abstract value is one number. */
export interface WeightRange {
  readonly start: number;
  readonly end: number;
  readonly weight: number;
}

/** Abstract content of one buffer: a number for each range of elements, 0 where nothing was set. */
export class WeightMap {
  #ranges: WeightRange[] = [];

  /** Ranges within `[start, end)`, relative to `start`; what is left out is 0. */
  read(start: number, end: number): readonly WeightRange[] {
    const found: WeightRange[] = [];
    for (const range of this.#ranges) {
      if (range.end <= start || range.start >= end) continue;
      found.push({
        start: Math.max(range.start, start) - start,
        end: Math.min(range.end, end) - start,
        weight: range.weight,
      });
    }
    return found;
  }

  /** Replaces `[start, end)` by ranges relative to `start`. */
  write(start: number, end: number, ranges: readonly WeightRange[]): void {
    const kept: WeightRange[] = [];
    for (const range of this.#ranges) {
      if (range.end <= start || range.start >= end) {
        kept.push(range);
        continue;
      }
      if (range.start < start) kept.push({ ...range, end: start });
      if (range.end > end) kept.push({ ...range, start: end });
    }
    for (const range of ranges) {
      kept.push({ start: range.start + start, end: range.end + start, weight: range.weight });
    }
    this.#ranges = merged(kept.sort((a, b) => a.start - b.start));
  }
}

/** Neighbours of one weight as one range. */
function merged(ranges: readonly WeightRange[]): WeightRange[] {
  const result: WeightRange[] = [];
  for (const range of ranges) {
    const last = result.at(-1);
    if (range.weight === 0) continue;
    if (last !== undefined && last.end === range.start && last.weight === range.weight) {
      result[result.length - 1] = { ...last, end: range.end };
    } else {
      result.push(range);
    }
  }
  return result;
}

/** Element-wise sum of several contents. */
export function addWeights(contents: readonly (readonly WeightRange[])[]): readonly WeightRange[] {
  const changes = new Map<number, number>();
  for (const { start, end, weight } of contents.flat()) {
    changes.set(start, (changes.get(start) ?? 0) + weight);
    changes.set(end, (changes.get(end) ?? 0) - weight);
  }
  const points = [...changes.keys()].sort((a, b) => a - b);
  const sums: WeightRange[] = [];
  let weight = 0;
  for (const [index, start] of points.entries()) {
    weight += changes.get(start)!;
    const end = points[index + 1];
    if (end !== undefined && weight !== 0) sums.push({ start, end, weight });
  }
  return sums;
}
