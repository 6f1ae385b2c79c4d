import { completeReport } from "../search/complete-report.js";
import { type Explanation, explain } from "../search/explain.js";
import { type ParetoPoint, paretoFront } from "../search/pareto-front.js";
import type { SearchInputs } from "../search/search.js";
import type { SearchReport } from "../search/search-report.js";
import { type Change, type WhatIf, whatIf } from "../search/what-if.js";
import type { FoundPlan } from "./find-plan.js";

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
