import type { Entry } from "./entry-queue.js";
import type { ShapeTable } from "./shape-table.js";
import type { Problem } from "./solve-candidate.js";

/** Sub-searches of one shape that wait for each other, and what is proven of them. */
interface Family {
  /** Most micro-batches last. */
  readonly waiting: Entry[];
  /** Per sample: no plan of those that wait is faster. */
  bound: number;
  /** Its next one waits for this sub-search. */
  open: Problem | null;
}

/**
 * Sub-searches that share a bound. Under 1F1B with more micro-batches than stages a stage holds the same memory
 * however many there are, so sub-searches of one shape have the same plans, and every term of the bounds by critical
 * times is α + β m with β ≥ 0 (where α < 0 another term, β m, is larger): per sample it falls with m, so that a bound for m
 * micro-batches is one for fewer of them. They are searched one after another, most micro-batches first.
 */
export class Siblings {
  readonly #alone: Entry[] = [];
  readonly #families = new Map<ShapeTable, Family>();

  add(entry: Entry): void {
    const { shape, outer } = entry.problem;
    if (outer.schedule !== "1f1b" || outer.microBatches <= outer.stages) {
      this.#alone.push(entry);
      return;
    }
    const family = this.#families.get(shape) ?? { waiting: [], bound: 0, open: null };
    this.#families.set(shape, family);
    family.waiting.push(entry);
  }

  /** Those that need not wait. */
  start(): Entry[] {
    const first = [...this.#families.values()].map((family) => {
      family.waiting.sort((a, b) => a.problem.outer.microBatches - b.problem.outer.microBatches);
      return next(family)!;
    });
    return [...this.#alone, ...first];
  }

  /** A bound by critical times, per sample. */
  learn(problem: Problem, bound: number): void {
    const family = this.#families.get(problem.shape);
    if (family && family.open === problem) family.bound = Math.max(family.bound, bound);
  }

  /** The one that waited until this one was searched. */
  after(problem: Problem): Entry | undefined {
    const family = this.#families.get(problem.shape);
    return family && family.open === problem ? next(family) : undefined;
  }
}

function next(family: Family): Entry | undefined {
  const entry = family.waiting.pop();
  family.open = entry?.problem ?? null;
  return entry && { ...entry, bound: Math.max(entry.bound, family.bound) };
}
