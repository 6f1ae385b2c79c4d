import { inFlight } from "../cost/pipeline-time.js";
import type { OuterChoice } from "./outer-choice.js";
import type { Addend, ShapeTable, VocabularyChoice } from "./shape-table.js";

/** Least bytes that a layer adds, by the peak that its strategy may have. */
interface LeanTable {
  /** Ascending. */
  readonly peaks: readonly number[];
  /** Kind → entry i: among strategies whose own peak is at most `peaks[i]`. */
  readonly byKind: ReadonlyMap<string, Float64Array>;
}

/** What of a shape matters to memory alone. */
interface LeanShape {
  readonly vocabulary: readonly VocabularyChoice[];
  readonly byHeld: Map<number, LeanTable>;
}

const leanShapes = new WeakMap<ShapeTable, LeanShape>();

const leaner = (a: Addend, b: Addend): boolean =>
  a.stateBytes <= b.stateBytes && a.activationBytes <= b.activationBytes && a.peakBytes <= b.peakBytes;

function leanShape(shape: ShapeTable): LeanShape {
  let lean = leanShapes.get(shape);
  if (!lean) {
    const vocabulary: VocabularyChoice[] = [];
    for (const one of shape.vocabulary) {
      const beaten = (other: VocabularyChoice): boolean =>
        leaner(other.embedding, one.embedding) && leaner(other.head, one.head);
      if (vocabulary.some(beaten)) continue;
      vocabulary.push(one);
    }
    lean = { vocabulary, byHeld: new Map() };
    leanShapes.set(shape, lean);
  }
  return lean;
}

function leanTable(shape: ShapeTable, held: number): LeanTable {
  const { byHeld } = leanShape(shape);
  let table = byHeld.get(held);
  if (!table) {
    const all = new Set<number>();
    for (const list of shape.choices.values()) for (const { peakBytes } of list) all.add(peakBytes);
    const peaks = [...all].sort((a, b) => a - b);
    const place = new Map(peaks.map((peak, index) => [peak, index]));
    const byKind = new Map(
      [...shape.choices].map(([kind, list]) => {
        const least = new Float64Array(peaks.length).fill(Number.POSITIVE_INFINITY);
        for (const one of list) {
          const at = place.get(one.peakBytes)!;
          least[at] = Math.min(least[at]!, one.stateBytes + held * one.activationBytes);
        }
        for (let i = 1; i < least.length; i++) least[i] = Math.min(least[i]!, least[i - 1]!);
        return [kind, least] as const;
      }),
    );
    table = { peaks, byKind };
    byHeld.set(held, table);
  }
  return table;
}

/** Whether there is any strategy at all for every kind, and for the vocabulary. */
export function hasStrategies(shape: ShapeTable): boolean {
  if (shape.vocabulary.length === 0) return false;
  for (const list of shape.choices.values()) if (list.length === 0) return false;
  return true;
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
  for (const vocabulary of leanShape(shape).vocabulary)
    if (fitsWith(shape, outer, kinds, even, bytes, vocabulary)) return true;
  return false;
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
    const { peaks, byKind } = leanTable(shape, held);
    let endPeak = 0;
    let endSum = 0;
    if (stage === 0) {
      const { stateBytes, activationBytes, peakBytes } = vocabulary.embedding;
      endPeak = peakBytes;
      endSum = stateBytes + held * activationBytes;
    }
    if (stage === stages - 1) {
      const { stateBytes, activationBytes, peakBytes } = vocabulary.head;
      endPeak = Math.max(endPeak, peakBytes);
      endSum += stateBytes + held * activationBytes;
    }
    const wanted = even || most;
    let best = 0;
    for (let at = peaks.length - 1; at >= 0 && best < wanted; at--) {
      // A peak below the ends' own allows no more than the next one above it.
      const peak = Math.max(peaks[at]!, endPeak);
      let sum = endSum + peak;
      let count = 0;
      while (count < most) {
        sum += byKind.get(kinds[start + count]!)![at]!;
        if (sum > bytes) break;
        count++;
      }
      best = Math.max(best, count);
      if (peaks[at]! <= endPeak) break;
    }
    const take = even || (stage === stages - 1 ? most : best);
    if (best < take || take < 1) return false;
    start += take;
  }
  return start === kinds.length;
}

/**
 * Least bytes, up to `precision`, under which `fits` holds, given that it holds at `enough` and does not below
 * `tooLittle`.
 */
export function leastBudget(
  fits: (bytes: number) => boolean,
  tooLittle: number,
  enough: number,
  precision: number,
): number {
  let low = tooLittle;
  let high = Math.ceil(enough);
  while (high - low > precision) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** Which outer choices need the same memory: those of equal shapes that hold as many micro-batches. */
export function memoryKey(shape: ShapeTable, { stages, microBatches, schedule }: OuterChoice): string {
  const held = schedule === "gpipe" ? microBatches : Math.min(stages, microBatches);
  return `${stages} ${shape.microBatchSamples} ${microBatches > 1} ${held} ${held === 1 ? "" : schedule}`;
}
