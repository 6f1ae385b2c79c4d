import { peakedBound } from "./candidate-bound.js";
import { peakClasses, wholeClass } from "./peak-class.js";
import { hullRelaxation, type Problem, type Relaxation } from "./solve-candidate.js";

/** A sub-search with what is known before it is solved. */
export interface Entry {
  readonly problem: Problem;
  readonly order: number;
  /** Per sample, so that batches compare. */
  readonly bound: number;
  /** Nearer bounds that were asked for. */
  readonly refined: number;
  /** Of a pipeline that was refined. */
  readonly relaxation: Relaxation | null;
  /** How often it was searched for a plan. */
  readonly attempts: number;
  /** How often its tables grew too large. */
  readonly overgrown: number;
}

/** Entries by their bound, best first: a binary heap, ties by order. */
export class EntryQueue {
  readonly #heap: Entry[] = [];

  push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(entry, heap[up]!)) break;
      heap[at] = heap[up]!;
      at = up;
    }
    heap[at] = entry;
  }

  pop(): Entry | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (!last || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1]!, heap[down]!)) down++;
      if (!before(heap[down]!, last)) break;
      heap[at] = heap[down]!;
      at = down;
    }
    heap[at] = last;
    return top;
  }
}

const before = (a: Entry, b: Entry): boolean =>
  a.bound < b.bound || (a.bound === b.bound && a.order < b.order);

/** First all peaks of a stage are one, then they are told apart by classes. */
export const REFINEMENTS: number = 2;

/** The entry with its next nearer bound. */
export function refine(entry: Entry): Entry {
  const { problem, bound, refined } = entry;
  const { shape, outer, kinds, budgetBytes } = problem;
  const classes = refined > 0 ? peakClasses(shape) : [wholeClass(shape)];
  const relaxation = outer.stages > 1 ? hullRelaxation(problem, classes) : null;
  const boundMs = relaxation?.relaxed.boundMs ?? peakedBound(shape, outer, kinds, budgetBytes);
  return {
    ...entry,
    refined: outer.stages > 1 ? refined + 1 : REFINEMENTS,
    relaxation,
    bound: Math.max(bound, boundMs / outer.globalBatch),
  };
}
