import { z } from "zod";
import { GalvatronError } from "../base/errors.js";
import type { ModelSpec } from "../model/model-spec.js";
import type { Plan } from "../plan/plan.js";
import type { Strategy } from "../plan/strategy.js";
import { verifyPlan } from "../plan/verify-plan.js";
import { modelSpecSchema } from "../profiler/profile-json.js";

/** A plan with the model it is for, as it lies in a file. */
export interface PlanFile {
  readonly model: ModelSpec;
  readonly plan: Plan;
}

const count = z.int().positive();

const strategy = z.strictObject({
  tensorDegree: count,
  tensorSplit: z.enum(["weights", "sequence"]),
  dataDegree: count,
  dataParallel: z.enum(["ddp", "zero1", "zero2", "zero3"]),
  recompute: z.boolean(),
  placement: z.enum(["consecutive", "strided"]),
}) satisfies z.ZodType<Strategy>;

const planFile = z.strictObject({
  model: modelSpecSchema,
  plan: z.strictObject({
    ranks: count,
    globalBatch: count,
    microBatches: count,
    schedule: z.enum(["gpipe", "1f1b"]),
    precision: z.enum(["float32", "bfloat16"]),
    stageLayers: z.array(count).min(1),
    layers: z.array(strategy).min(1),
    vocabulary: strategy,
  }),
}) satisfies z.ZodType<PlanFile>;

/** @throws GalvatronError PLAN_INVALID: no JSON, another schema, or a plan that breaks a rule */
export function parsePlanFile(text: string): PlanFile {
  let file: PlanFile;
  try {
    file = planFile.parse(JSON.parse(text));
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new GalvatronError("PLAN_INVALID", `Not a plan file: ${reason}`, {}, { cause });
  }
  const problems = verifyPlan(file.model, file.plan);
  if (problems.length > 0)
    throw new GalvatronError("PLAN_INVALID", `The plan cannot run: ${problems.join("; ")}.`, {
      problems: problems.length,
    });
  return file;
}

export function planFileText(file: PlanFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}
