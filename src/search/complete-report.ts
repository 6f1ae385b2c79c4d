import { planMemory, searchOrNull } from "./pareto-front.js";
import type { SearchInputs } from "./search.js";
import type { Candidate, SearchReport } from "./search-report.js";

/** The inputs, left with one outer choice. */
export function withinCandidate(inputs: SearchInputs, candidate: Candidate): SearchInputs {
  const { globalBatch, microBatches, stages, schedule } = candidate;
  const space = { ...inputs.space, microBatches, pipelineDegrees: [stages], schedules: [schedule] };
  return { ...inputs, globalBatch, space };
}

/**
 * The report with the best plan's time and memory for every candidate that has any plan: those that the search only
 * proved to be slower are searched now, one by one. The winner stays what it is.
 */
export function completeReport(inputs: SearchInputs, report: SearchReport): SearchReport {
  const { samplesPerSecond: most } = report.prediction;
  const candidates = report.candidates.map((candidate): Candidate => {
    if (candidate.status !== "pruned") return candidate;
    const own = searchOrNull(withinCandidate(inputs, candidate));
    if (!own) return { ...candidate, status: "no-plan-fits", reason: "no plan fits the budget" };
    const { stepMs, samplesPerSecond } = own.prediction;
    return {
      ...candidate,
      status: "ok",
      reason: `the best plan is ${(most / samplesPerSecond).toFixed(3)} × as fast`,
      stepMs,
      samplesPerSecond,
      memoryBytes: planMemory(own),
    };
  });
  return { ...report, candidates };
}
