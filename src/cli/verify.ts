import { resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { smallModel } from "../families/registry.js";
import type { ModelSpec } from "../model/model-spec.js";
import { describePlan } from "../plan/describe-plan.js";
import { drawPlan } from "../plan/draw-plan.js";
import type { Plan } from "../plan/plan.js";
import { PRECISIONS } from "../plan/precision.js";
import { openHostPool } from "../runtime/coordinator/host-pool.js";
import { hashNumbers } from "../runtime/data/sample-order.js";
import { isWithin, verifyBounds } from "../runtime/verify/bounds.js";
import { coverageOf } from "../runtime/verify/coverage.js";
import { verifyPlans } from "../runtime/verify/verify-plans.js";
import {
  choiceFlag,
  type FlagValues,
  neededFlag,
  orderFlag,
  readArguments,
  realFlag,
  textFlag,
  wholeFlag,
} from "./args.js";
import { sessionOf } from "./model-flags.js";
import { PLAN_FILE_FLAGS, planFileContext, readPlanFile } from "./plan-file.js";
import { type Command, printJson, type Terminal } from "./terminal.js";

const GLOBAL_BATCH = 8;

/**
 * `galvatron verify --model gpt --plans 20 --seed 1 --ranks 4`: trains a small model under random plans and on one
 * rank, and compares. `--plan FILE` checks that plan on its own model; a strategy file of Galvatron needs `--model` and its
 * sizes beside it. Drawn plans take turns in their order of sums, unless `--gradient-order` says it.
 */
export const verifyCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [...PLAN_FILE_FLAGS, "plans", "seed", "plan", "dropout", "tolerance", "folder", "gradient-order"],
    switches: ["json", "quiet"],
  });
  const seed = wholeFlag(flags, "seed") ?? 0;
  const { model, plans } = plansOf(flags, terminal, seed);
  const tolerance = realFlag(flags, "tolerance");
  const bounds =
    tolerance === undefined
      ? verifyBounds(model, plans[0]!.precision)
      : { loss: tolerance, gradient: tolerance, weights: tolerance };
  const ranks = Math.max(...plans.map((plan) => plan.ranks));
  const bar = sessionOf(flags, terminal).reporter.progress(`Verifying ${model.name}`);
  const pool = await openHostPool(ranks, 1);
  try {
    const report = await verifyPlans(pool, model, plans, seed, bar.update);
    bar.end();
    const worst = report.differences.reduce((a, b) => (b.largest > a.largest ? b : a));
    const outside = report.differences.filter((difference) => !isWithin(difference, bounds));
    const moved = report.referenceMoved >= 1e-2;
    const result = {
      model: model.family,
      plans: plans.length,
      seed,
      ranks,
      maxRelativeDifference: worst.largest,
      worstPlan: worst.plan,
      worst: {
        loss: worst.loss,
        gradient: worst.gradient,
        weights: worst.weights,
        tensor: worst.worstTensor,
      },
      bounds,
      plansOutside: outside.length,
      referenceMoved: report.referenceMoved,
      drawn: coverageOf(plans),
    };
    if (flags["json"]) printJson(terminal, result);
    else
      terminal.out(
        `${plans.length} plan(s) of ${model.name} on ${ranks} ranks: largest relative difference ${worst.largest.toExponential(2)} (losses ${worst.loss.toExponential(2)}, gradients ${worst.gradient.toExponential(2)} in ${worst.worstTensor}, weights ${worst.weights.toExponential(2)}) under\n${describePlan(worst.plan).join("\n")}\n`,
      );
    if (outside.length > 0)
      terminal.error(
        `${outside.length} plan(s) further away than rounding explains: losses ${bounds.loss}, gradients ${bounds.gradient}, weights ${bounds.weights}.\n`,
      );
    if (!moved) terminal.error("The reference hardly moved: nothing was proven.\n");
    return outside.length === 0 && moved ? 0 : 1;
  } finally {
    await pool.close();
  }
};

function plansOf(
  flags: FlagValues,
  terminal: Terminal,
  seed: number,
): { readonly model: ModelSpec; readonly plans: readonly Plan[] } {
  const file = textFlag(flags, "plan");
  const gradientOrder = orderFlag(flags);
  if (file !== undefined) {
    const context = planFileContext(flags, sessionOf(flags, terminal));
    const { model, plan } = readPlanFile(resolve(terminal.folder, file), context);
    // As the host would train it, where this runs.
    return { model, plans: [{ ...plan, gradientOrder: gradientOrder ?? plan.gradientOrder ?? "canonical" }] };
  }
  const ranks = wholeFlag(flags, "ranks") ?? 4;
  const precision = choiceFlag(flags, "precision", PRECISIONS) ?? "float32";
  const model = smallModel(neededFlag(flags, "model", "gpt"), realFlag(flags, "dropout") ?? 0);
  let drawn = 0;
  const pick = (count: number): number => hashNumbers(seed, drawn++) % count;
  const count = wholeFlag(flags, "plans") ?? 10;
  if (count < 1)
    throw new GalvatronError("ARGUMENT_INVALID", `--plans expects a whole number from 1 on, got ${count}.`, {
      flag: "plans",
    });
  const plans = Array.from({ length: count }, (_, index) => ({
    ...drawPlan(model, { ranks, globalBatch: GLOBAL_BATCH, precision }, pick),
    gradientOrder: gradientOrder ?? (["canonical", "deferred"] as const)[index % 2]!,
  }));
  return { model, plans };
}
