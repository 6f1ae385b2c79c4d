import type { Prediction } from "../cost/prediction.js";
import type { Plan } from "../plan/plan.js";

/** One sub-search: the best plan for fixed outer choices, or why there is none. */
export interface Candidate {
  readonly globalBatch: number;
  readonly microBatches: number;
  readonly stages: number;
  readonly schedule: Plan["schedule"];
  readonly status: "ok" | "no-plan-fits" | "pruned" | "invalid";
  /** In words, when `status` is not ok. */
  readonly reason: string;
  readonly stepMs: number | null;
  readonly samplesPerSecond: number | null;
  /** Fullest rank. */
  readonly memoryBytes: number | null;
}

/** All that a search found: the winner, every rejected candidate with its reason, and how good the winner provably is. */
export interface SearchReport {
  readonly budgetBytes: number;
  readonly plan: Plan;
  readonly prediction: Prediction;
  readonly candidates: readonly Candidate[];
  /** No plan of the searched space is faster than this. */
  readonly lowerBoundMs: number;
  /** (stepMs − lowerBoundMs) / stepMs: 0 is proven optimal. */
  readonly gap: number;
  /** Smallest budget under which any plan of the space fits. */
  readonly smallestBudgetBytes: number;
  readonly searchMs: number;
}
