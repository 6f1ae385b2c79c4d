import type { Entry } from "./entry-queue.js";
import type { Problem } from "./solve-candidate.js";

/** Sub-searches of one shape that wait for each other, and what is proven of them. */
interface Family {
  /** Most micro-batches last. */
  readonly waiting: Entry[];
  /** Per sample: no plan of those that wait is faster, if its layers take `timeFactor` of their time. */
  bound: number;
  timeFactor: number;
  /** Its next one waits for this sub-search. */
  open: Problem | null;
}

/**
 * Sub-searches that share a bound. Under 1F1B with more micro-batches than stages a stage holds the same memory
 * however many there are, so sub-searches of one shape have the same plans, and every term of the bounds by critical
 * times is α + β m with β ≥ 0 (where α < 0 another term, β m, is larger): per sample it falls with m, so that a bound for m
 * micro-batches is one for fewer of them. They are searched one after another, most micro-batches first.
 *
 * Where layers rest, those of fewer micro-batches take less time. What takes `r ≤ 1` of its time, beside collectives that take
 * all of it, is at least `r` of the whole, so the bound falls by that factor.
 */
export class Siblings {
  readonly #alone: Entry[] = [];
  readonly #families = new Map<string, Family>();

  add(entry: Entry): void {
    const { shape, outer } = entry.problem;
    if (outer.schedule !== "1f1b" || outer.microBatches <= outer.stages) {
      this.#alone.push(entry);
      return;
    }
    const { family: name, timeFactor } = shape;
    const family = this.#families.get(name) ?? { waiting: [], bound: 0, timeFactor, open: null };
    this.#families.set(name, family);
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
    const family = this.#families.get(problem.shape.family);
    if (family && family.open === problem) family.bound = Math.max(family.bound, bound);
  }

  /** The one that waited until this one was searched. */
  after(problem: Problem): Entry | undefined {
    const family = this.#families.get(problem.shape.family);
    return family && family.open === problem ? next(family) : undefined;
  }
}

function next(family: Family): Entry | undefined {
  const entry = family.waiting.pop();
  family.open = entry?.problem ?? null;
  if (!entry) return undefined;
  const { timeFactor } = entry.problem.shape;
  family.bound *= Math.min(1, timeFactor / family.timeFactor);
  family.timeFactor = timeFactor;
  return { ...entry, bound: Math.max(entry.bound, family.bound) };
}
