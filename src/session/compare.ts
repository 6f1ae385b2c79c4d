import { compareFigure } from "../display/compare-figure.js";
import { PlanHandle } from "./plan-handle.js";
import { planLabel } from "./plan-pictures.js";
import type { Run } from "./run.js";
import { runReport } from "./run-report.js";
import { Picture } from "./show.js";

/** Plans, or runs with what was measured of them, side by side. */
export function compare(...handles: readonly (PlanHandle | Run)[]): Picture {
  const compared = handles.map((handle, index) => {
    const plan = handle instanceof PlanHandle ? handle : handle.plan;
    const name = `${index + 1}: ${planLabel(plan.data)}`;
    if (handle instanceof PlanHandle || handle.records.length === 0)
      return { name, prediction: plan.prediction };
    const report = runReport(plan, handle.records, handle.evaluations, "finished");
    return {
      name,
      prediction: plan.prediction,
      measuredStepMs: report.stepMs,
      peakMemoryBytes: Math.max(...report.peakMemoryBytes),
    };
  });
  const text = handles
    .map((handle, index) => `${index + 1}: ${(handle instanceof PlanHandle ? handle : handle.plan).text()}`)
    .join("\n\n");
  return new Picture(text, [compareFigure(compared)]);
}
