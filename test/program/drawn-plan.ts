import fc from "fast-check";
import { drawPlan } from "../../src/plan/draw-plan.js";
import type { Plan } from "../../src/plan/plan.js";

/** Draws a plan inside a property: that ranks have too few divisors for a plan is no counterexample. */
export function drawnPlan(...drawing: Parameters<typeof drawPlan>): Plan {
  let plan: Plan | null = null;
  try {
    plan = drawPlan(...drawing);
  } catch {
    fc.pre(false);
  }
  return plan!;
}
