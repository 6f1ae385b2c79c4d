import type { ModelSpec } from "../model/model-spec.js";
import type { PlanDocument } from "../model/plan-json.js";
import type { SearchReport } from "./search-report.js";

/** What a plan file says of a plan: with its prediction, and the hashes of what that was made from. */
export function planDocument(
  model: ModelSpec,
  { plan, prediction, lowerBoundMs }: SearchReport,
  provenance: NonNullable<PlanDocument["provenance"]>,
): PlanDocument {
  const { stepMs, samplesPerSecond, stages } = prediction;
  return {
    model,
    plan,
    prediction: {
      stepMs,
      samplesPerSecond,
      lowerBoundMs,
      stages: stages.map(({ time, memory }) => ({ time: { ...time }, memory: { ...memory } })),
    },
    provenance,
  };
}
