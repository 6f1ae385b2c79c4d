import { predict } from "../cost/predict.js";
import { type BatchPhase, type BatchRamp, batchPhases } from "../runtime/batch-ramp.js";
import { phasePlan } from "../runtime/compile-ramp.js";
import { completeReport } from "../search/complete-report.js";
import { type Explanation, explain } from "../search/explain.js";
import { type ParetoPoint, paretoFront } from "../search/pareto-front.js";
import type { SearchInputs } from "../search/search.js";
import type { SearchReport } from "../search/search-report.js";
import { type Change, type WhatIf, whatIf } from "../search/what-if.js";
import type { FoundPlan } from "./find-plan.js";

/** A size of the batch on the way to the plan's, and what it is predicted to cost. */
export interface PricedPhase extends BatchPhase {
  readonly microBatches: number;
  readonly stepMs: number;
}

/** @throws GalvatronError ARGUMENT_INVALID for a ramp that does not lead to the plan's batch in whole micro-batches */
export function pricedPhases(
  { model, modelProfile, machine, report: { plan } }: FoundPlan,
  ramp: BatchRamp,
): readonly PricedPhase[] {
  return batchPhases(ramp, plan.globalBatch, plan.globalBatch / plan.microBatches).map((phase) => {
    const smaller = phasePlan(plan, phase);
    const { stepMs } = predict(model, smaller, modelProfile, machine.hardware);
    return { ...phase, microBatches: smaller.microBatches, stepMs };
  });
}

/** What the plan was searched from. */
function inputsOf({ model, modelProfile, machine, options, report }: FoundPlan): SearchInputs {
  return { model, modelProfile, hardware: machine.hardware, budgetBytes: report.budgetBytes, ...options };
}

/** Why a plan that was searched is as it is; `null` for one made by hand. */
export function explanationOf(found: FoundPlan): Explanation | null {
  return found.report.candidates.length > 0 ? explain(inputsOf(found), found.report) : null;
}

/** The search again, by the equations, with something different. */
export function whatIfOf(found: FoundPlan, change: Change): WhatIf {
  return whatIf(inputsOf(found), change);
}

/** The report with the best time of every candidate. */
export function completeReportOf(found: FoundPlan): SearchReport {
  return completeReport(inputsOf(found), found.report);
}

/** Candidates beyond which a picture leaves their best plans out: each takes a search of its own. */
const MOST_SEARCHED = 48;

/** The report as a picture shows it: complete where that takes few searches. */
export function drawnReportOf(found: FoundPlan): SearchReport {
  const pruned = found.report.candidates.filter(({ status }) => status === "pruned");
  return pruned.length <= MOST_SEARCHED ? completeReportOf(found) : found.report;
}

/** The front of memory against throughput, by the equations, within the budget of the plan's search. */
export function frontOf(found: FoundPlan, points: number): ParetoPoint[] {
  return paretoFront(inputsOf(found), points);
}
