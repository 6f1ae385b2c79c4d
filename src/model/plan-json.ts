import { z } from "zod";
import { GalvatronError } from "../base/errors.js";
import type { Plan } from "../plan/plan.js";
import { PRECISIONS } from "../plan/precision.js";
import type { Strategy } from "../plan/strategy.js";
import { verifyPlan } from "../plan/verify-plan.js";
import { modelJson } from "./model-json.js";
import type { ModelSpec } from "./model-spec.js";

/** Version of the plan file: raised when old readers would misread it. */
const PLAN_FILE_VERSION = 1;

/** What a plan was made from, as hashes of contents: tells whether its prediction still holds. */
export interface Provenance {
  readonly model: string;
  readonly modelProfile: string;
  readonly hardware: string;
  /** Package that made it. */
  readonly version: string;
}

/** What a plan promises, kept beside it. */
interface PlannedCost {
  readonly stepMs: number;
  readonly samplesPerSecond: number;
  readonly lowerBoundMs: number;
  readonly stages: readonly {
    readonly time: Readonly<Record<string, number>>;
    readonly memory: Readonly<Record<string, number>>;
  }[];
}

/** A plan as it lies in a file: with the model it is for, what it promises and where it came from. */
export interface PlanDocument {
  readonly model: ModelSpec;
  readonly plan: Plan;
  readonly prediction?: PlannedCost;
  readonly provenance?: Provenance;
}

const count = z.int().positive();

const strategyJson = z.strictObject({
  tensorDegree: count,
  tensorSplit: z.enum(["weights", "sequence"]),
  dataDegree: count,
  dataParallel: z.enum(["ddp", "zero1", "zero2", "zero3"]),
  recompute: z.boolean(),
  placement: z.enum(["consecutive", "strided"]),
}) satisfies z.ZodType<Strategy>;

/** Schema of a plan, without the rules that need a model. */
export const planJson: z.ZodType<Plan> = z.strictObject({
  ranks: count,
  globalBatch: count,
  microBatches: count,
  schedule: z.enum(["gpipe", "1f1b"]),
  precision: z.enum(PRECISIONS),
  gradientOrder: z.enum(["deferred", "canonical"]).default("deferred"),
  stageLayers: z.array(count).min(1).max(100_000),
  layers: z.array(strategyJson).min(1).max(100_000),
  vocabulary: strategyJson,
});

const terms = z.record(z.string(), z.number().nonnegative());

const documentJson = z.strictObject({
  format: z.literal("galvatron-plan"),
  version: z.literal(PLAN_FILE_VERSION),
  model: modelJson,
  plan: planJson,
  prediction: z
    .strictObject({
      stepMs: z.number().positive(),
      samplesPerSecond: z.number().positive(),
      lowerBoundMs: z.number().nonnegative(),
      stages: z.array(z.strictObject({ time: terms, memory: terms })),
    })
    .optional(),
  provenance: z
    .strictObject({ model: z.string(), modelProfile: z.string(), hardware: z.string(), version: z.string() })
    .optional(),
});

/** Where in the file something is wrong: "plan.layers[3].tensorDegree". */
function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else text += text === "" ? String(part) : `.${String(part)}`;
  }
  return text === "" ? "the file" : text;
}

function invalid(path: string, reason: string): GalvatronError {
  return new GalvatronError("PLAN_INVALID", `Not a plan file: ${path}: ${reason}`, { path });
}

/**
 * Reads a plan file. Every field is checked, none may be missing or unknown, and the plan must keep every rule that
 * the runtime asks of it.
 *
 * @throws PLAN_INVALID with the path of the wrong field
 */
export function parsePlanJson(text: string): PlanDocument {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid(
      "the file",
      `expected JSON, but ${cause instanceof Error ? cause.message : "got something else"}`,
    );
  }
  const parsed = documentJson.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const unknown = issue.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : [];
    throw invalid(pathText([...issue.path, ...unknown]), issue.message);
  }
  const { model, plan, prediction, provenance } = parsed.data;
  const problems = verifyPlan(model, plan);
  if (problems.length > 0) throw invalid("plan", problems.slice(0, 5).join("; "));
  return { model, plan, ...(prediction && { prediction }), ...(provenance && { provenance }) };
}

/** Writes a plan file: fixed order of fields, so equal plans give equal bytes. */
export function planJsonText(document: PlanDocument): string {
  const { model, plan, prediction, provenance } = document;
  const ordered = {
    format: "galvatron-plan",
    version: PLAN_FILE_VERSION,
    model,
    plan: planJson.parse(plan),
    ...(prediction && {
      prediction: {
        stepMs: prediction.stepMs,
        samplesPerSecond: prediction.samplesPerSecond,
        lowerBoundMs: prediction.lowerBoundMs,
        stages: prediction.stages,
      },
    }),
    ...(provenance && { provenance }),
  };
  return `${JSON.stringify(ordered, null, 2)}\n`;
}
