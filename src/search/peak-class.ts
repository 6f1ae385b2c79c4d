import type { ShapeTable } from "./shape-table.js";

/**
 * Stages by the largest of the bytes of which only the peak counts: a stage of the class has a peak between the two,
 * so all its strategies have none above `capBytes`, and at least `floorBytes` are gone from its budget.
 */
export interface PeakClass {
  readonly floorBytes: number;
  readonly capBytes: number;
}

/** One class for all stages. */
export function wholeClass(shape: ShapeTable): PeakClass {
  let floorBytes = Number.POSITIVE_INFINITY;
  for (const list of shape.choices.values())
    for (const { peakBytes } of list) floorBytes = Math.min(floorBytes, peakBytes);
  return { floorBytes, capBytes: Number.POSITIVE_INFINITY };
}

const classesOf = new WeakMap<ShapeTable, readonly PeakClass[]>();
/** Peaks that lie near each other share a class beyond so many. */
const MOST_CLASSES = 8;

/** Classes of all peaks that a stage can have, ascending. */
export function peakClasses(shape: ShapeTable): readonly PeakClass[] {
  let classes = classesOf.get(shape);
  if (!classes) {
    const { floorBytes: least } = wholeClass(shape);
    const all = new Set<number>();
    for (const list of shape.choices.values()) for (const { peakBytes } of list) all.add(peakBytes);
    for (const { embedding, head } of shape.vocabulary) {
      all.add(Math.max(least, embedding.peakBytes));
      all.add(Math.max(least, head.peakBytes));
    }
    const peaks = [...all].sort((a, b) => a - b);
    const width = peaks.length > MOST_CLASSES ? (peaks.at(-1)! - least) / MOST_CLASSES : 0;
    const made: { floorBytes: number; capBytes: number }[] = [];
    for (const peak of peaks) {
      const last = made.at(-1);
      if (last && peak - last.floorBytes < width) last.capBytes = peak;
      else made.push({ floorBytes: peak, capBytes: peak });
    }
    classes = made;
    classesOf.set(shape, classes);
  }
  return classes;
}
