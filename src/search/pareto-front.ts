import { isGalvatronError } from "../base/errors.js";
import type { Plan } from "../plan/plan.js";
import { type SearchInputs, search } from "./search.js";
import type { SearchReport } from "./search-report.js";

/** A plan that no other beats in memory and speed at once. */
export interface ParetoPoint {
  /** Fullest rank, reserve counted. */
  readonly memoryBytes: number;
  readonly samplesPerSecond: number;
  readonly stepMs: number;
  readonly plan: Plan;
}

/** Bytes of a report's fullest rank. */
export function planMemory(report: SearchReport): number {
  return Math.max(...report.prediction.stages.map(({ memory }) => memory.totalBytes));
}

/** The search, or `null` where nothing fits. */
export function searchOrNull(inputs: SearchInputs): SearchReport | null {
  try {
    return search(inputs);
  } catch (error) {
    if (isGalvatronError(error) && error.code === "NO_FEASIBLE_PLAN") return null;
    throw error;
  }
}

/**
 * The front of memory against throughput, leanest plan first: the best plan for the budget, then the best for a
 * budget just below that plan's memory, and so on; every point is optimal for its memory. With more than `points`
 * of them, steps are widened so that the front is sampled evenly down to the smallest budget.
 */
export function paretoFront(inputs: SearchInputs, points = 16): ParetoPoint[] {
  const front: ParetoPoint[] = [];
  let budgetBytes = inputs.budgetBytes;
  let step = 0;
  for (;;) {
    const report = searchOrNull({ ...inputs, budgetBytes });
    if (!report) break;
    const memoryBytes = planMemory(report);
    if (step === 0)
      step = Math.max(1, Math.floor((memoryBytes - report.smallestBudgetBytes) / Math.max(1, points - 1)));
    const { stepMs, samplesPerSecond } = report.prediction;
    // A leaner plan that is as fast takes the place of the one before.
    while (front.length > 0 && front.at(-1)!.samplesPerSecond <= samplesPerSecond * (1 + 1e-12)) front.pop();
    front.push({ memoryBytes, samplesPerSecond, stepMs, plan: report.plan });
    if (memoryBytes <= report.smallestBudgetBytes) break;
    budgetBytes = Math.max(report.smallestBudgetBytes, Math.ceil(memoryBytes) - step);
  }
  return front.reverse();
}
