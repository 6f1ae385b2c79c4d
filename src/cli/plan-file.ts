import { readFileSync } from "node:fs";
import { GalvatronError } from "../base/errors.js";
import { familyOf } from "../families/registry.js";
import { type PlanDocument, parsePlanJson } from "../model/plan-json.js";

/** @throws GalvatronError FILE_UNREADABLE, PLAN_INVALID, MODEL_UNKNOWN */
export function readPlanFile(path: string): PlanDocument {
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
  const document = parsePlanJson(text);
  familyOf(document.model.family);
  return document;
}
