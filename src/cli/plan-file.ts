import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { readStrategyConfig } from "../ancestor/strategy-json.js";
import { GalvatronError } from "../base/errors.js";
import { familyOf } from "../families/registry.js";
import type { ModelSpec } from "../model/model-spec.js";
import { type PlanDocument, parsePlanJson } from "../model/plan-json.js";
import type { Precision } from "../plan/plan.js";
import { PRECISIONS } from "../plan/precision.js";
import { verifyPlan } from "../plan/verify-plan.js";
import type { Session } from "../session/session.js";
import { choiceFlag, type FlagValues, wholeFlag } from "./args.js";
import { MODEL_FLAGS, modelOf } from "./model-flags.js";

/** What a `galvatron_config_*.json` leaves out. */
export interface PlanFileContext {
  readonly model?: ModelSpec;
  /** Files before 3.0 do not say it. */
  readonly ranks?: number;
  /** The end of the file's name says it, if anything does. */
  readonly precision?: Precision;
}

/** Flags by which a command line says what a plan file leaves out. */
export const PLAN_FILE_FLAGS: readonly string[] = [...MODEL_FLAGS, "ranks", "precision"];

/** @throws GalvatronError ARGUMENT_INVALID, MODEL_UNKNOWN, MODEL_INVALID */
export function planFileContext(flags: FlagValues, session: Session): PlanFileContext {
  const ranks = wholeFlag(flags, "ranks");
  const precision = choiceFlag(flags, "precision", PRECISIONS);
  return {
    ...(flags["model"] !== undefined && { model: modelOf(flags, session).spec }),
    ...(ranks !== undefined && { ranks }),
    ...(precision !== undefined && { precision }),
  };
}

/**
 * Reads a plan file: ours, or the ancestor's `galvatron_config_*.json` with what it leaves out.
 * @throws GalvatronError FILE_UNREADABLE, PLAN_INVALID, MODEL_UNKNOWN, ARGUMENT_INVALID
 */
export function readPlanFile(path: string, context: PlanFileContext = {}): PlanDocument {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new GalvatronError(
      "FILE_UNREADABLE",
      `Cannot read the plan file ${path}. Check the path; "galvatron search … --output FILE" writes one.`,
      { path },
      { cause },
    );
  }
  const config = strategyConfigIn(text);
  if (config !== null) return ancestorDocument(config, basename(path), context);
  const document = parsePlanJson(text);
  familyOf(document.model.family);
  for (const name of ["model", "precision"] as const)
    if (context[name] !== undefined)
      throw new GalvatronError("ARGUMENT_INVALID", `${path} says its own ${name}: leave --${name} out.`, {
        path,
      });
  return document;
}

/** The parsed file where it is one of the ancestor's. */
function strategyConfigIn(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "pp_deg" in value ? value : null;
  } catch {
    return null; // the reader of our own files says what is wrong with it
  }
}

function ancestorDocument(config: object, name: string, context: PlanFileContext): PlanDocument {
  const { model, ranks } = context;
  if (!model)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `${name} is a strategy file of Galvatron and names no model. Give it: --model gpt --layers 8 …`,
      { name },
    );
  const precision = context.precision ?? precisionIn(name);
  if (!precision)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `${name} says no precision, neither inside nor by a name that ends in _fp32.json or _bf16.json. Give --precision float32 or bfloat16.`,
      { name },
    );
  const plan = readStrategyConfig(config, name, { precision, ...(ranks !== undefined && { ranks }) });
  const problems = verifyPlan(model, plan);
  if (problems.length > 0)
    throw new GalvatronError(
      "PLAN_INVALID",
      `${name} does not fit ${model.name}: ${problems.slice(0, 5).join("; ")}.`,
      { name, problems: problems.length },
    );
  return { model, plan };
}

function precisionIn(name: string): Precision | undefined {
  const [, end] = /_(fp32|bf16)\.json$/.exec(name) ?? [];
  if (end === undefined) return undefined;
  return end === "fp32" ? "float32" : "bfloat16";
}
