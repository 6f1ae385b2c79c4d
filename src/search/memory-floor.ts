import { inFlight } from "../cost/pipeline-time.js";
import type { OuterChoice } from "./outer-choice.js";
import type { ShapeTable, VocabularyChoice } from "./shape-table.js";

/** Least bytes of one kind's layer, by the peak that is allowed. */
interface Lean {
  readonly peakBytes: number;
  readonly stateBytes: number;
  readonly activationBytes: number;
}

/**
 * Whether some division of the layers fits `bytes` on every rank, however slow: every stage takes as many layers
 * as fit, which leaves the fewest for the stages behind it.
 */
export function fitsWithin(
  shape: ShapeTable,
  outer: OuterChoice,
  kinds: readonly string[],
  even: number,
  bytes: number,
): boolean {
  return shape.vocabulary.some((vocabulary) => fitsWith(shape, outer, kinds, even, bytes, vocabulary));
}

function fitsWith(
  shape: ShapeTable,
  outer: OuterChoice,
  kinds: readonly string[],
  even: number,
  bytes: number,
  vocabulary: VocabularyChoice,
): boolean {
  const { stages, schedule, microBatches } = outer;
  let start = 0;
  for (let stage = 0; stage < stages; stage++) {
    const held = inFlight(schedule, stage, stages, microBatches);
    const most = kinds.length - start - (stages - 1 - stage);
    const ends = [
      ...(stage === 0 ? [vocabulary.embedding] : []),
      ...(stage === stages - 1 ? [vocabulary.head] : []),
    ];
    const endPeak = ends.reduce((peak, part) => Math.max(peak, part.peakBytes), 0);
    const endSum = ends.reduce((sum, part) => sum + part.stateBytes + held * part.activationBytes, 0);
    let best = 0;
    for (const peak of peaksOf(shape, endPeak)) {
      let sum = endSum + peak;
      let count = 0;
      while (count < most) {
        const least = leastBytes(shape, kinds[start + count]!, peak, held);
        if (sum + least > bytes) break;
        sum += least;
        count++;
      }
      best = Math.max(best, count);
      if (best === most) break;
    }
    const take = even || (stage === stages - 1 ? most : best);
    if (best < take || take < 1) return false;
    start += take;
  }
  return start === kinds.length;
}

const peakLists = new WeakMap<ShapeTable, readonly number[]>();

function peaksOf(shape: ShapeTable, atLeast: number): readonly number[] {
  let list = peakLists.get(shape);
  if (!list) {
    const all = new Set<number>([0]);
    for (const choices of shape.choices.values()) for (const { peakBytes } of choices) all.add(peakBytes);
    list = [...all].sort((a, b) => a - b);
    peakLists.set(shape, list);
  }
  return [atLeast, ...list.filter((peak) => peak > atLeast)];
}

const leanLists = new WeakMap<ShapeTable, Map<string, readonly Lean[]>>();

/** Least bytes that a layer of this kind adds, among strategies whose own peak is allowed. */
function leastBytes(shape: ShapeTable, kind: string, peakBytes: number, held: number): number {
  let byKind = leanLists.get(shape);
  if (!byKind) {
    byKind = new Map();
    leanLists.set(shape, byKind);
  }
  let list = byKind.get(kind);
  if (!list) {
    const all = shape.choices.get(kind)!;
    list = all.filter(
      (one, index) =>
        !all.some(
          (other, at) =>
            other.peakBytes <= one.peakBytes &&
            other.stateBytes <= one.stateBytes &&
            other.activationBytes <= one.activationBytes &&
            (at < index ||
              other.peakBytes < one.peakBytes ||
              other.stateBytes < one.stateBytes ||
              other.activationBytes < one.activationBytes),
        ),
    );
    byKind.set(kind, list);
  }
  let least = Number.POSITIVE_INFINITY;
  for (const one of list)
    if (one.peakBytes <= peakBytes) least = Math.min(least, one.stateBytes + held * one.activationBytes);
  return least;
}

/** Least bytes, to the byte, under which `fits` holds, given that it holds at `enough`. */
export function leastBudget(fits: (bytes: number) => boolean, enough: number): number {
  let low = 0;
  let high = Math.ceil(enough);
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) high = middle;
    else low = middle;
  }
  return high;
}
