import { resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { defaultPrecision, ModelHandle } from "../session/model-handle.js";
import type { PlanHandle } from "../session/plan-handle.js";
import type { Session } from "../session/session.js";
import { type FlagValues, orderFlag, readArguments, textFlag } from "./args.js";
import { MACHINE_FLAGS, MODEL_FLAGS, machineOf, modelOf, SESSION_FLAGS, sessionOf } from "./model-flags.js";
import { planFileContext, readPlanFile } from "./plan-file.js";
import { OUTPUT_FLAGS, writePlan } from "./plan-output.js";
import { type Command, printJson, type Terminal } from "./terminal.js";
import { asksUniform, UNIFORM_FLAGS, UNIFORM_SWITCHES, uniformOf } from "./uniform-flags.js";

/**
 * `galvatron plan --model gpt --pipeline 2 --tensor 2 --global-batch 8 --output plan.json`: prices a plan that nobody
 * searched. `--plan FILE` takes it from a file, also the ancestor's; `--machine NAME` prices it for another machine.
 * `--gradient-order deferred` turns off the host's canonical order of sums.
 */
export const planCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [
      ...MODEL_FLAGS,
      ...SESSION_FLAGS,
      ...MACHINE_FLAGS,
      ...UNIFORM_FLAGS,
      ...OUTPUT_FLAGS,
      ...["plan", "global-batch", "precision", "gradient-order"],
    ],
    switches: ["json", "quiet", ...UNIFORM_SWITCHES],
  });
  const session = sessionOf(flags, terminal);
  const plan = await pricedPlan(flags, session, terminal);
  const written = writePlan(plan, flags, terminal);
  if (flags["json"])
    printJson(terminal, {
      plan: plan.data,
      prediction: plan.prediction,
      memoryBytesByRank: plan.memoryBytesByRank(),
    });
  else terminal.out(`${[String(plan), ...written].join("\n")}\n`);
  return 0;
};

/**
 * The plan of `--plan FILE`, or that of uniform degrees.
 * @throws GalvatronError ARGUMENT_INVALID, PLAN_INVALID, FILE_UNREADABLE
 */
export async function pricedPlan(
  flags: FlagValues,
  session: Session,
  terminal: Terminal,
): Promise<PlanHandle> {
  const file = textFlag(flags, "plan");
  const gradientOrder = orderFlag(flags);
  const order = gradientOrder && { gradientOrder };
  if (file === undefined) {
    const model = modelOf(flags, session);
    const on = await machineOf(flags, session);
    const { nodes, ranksPerNode } = on.data;
    const plan = uniformOf(flags, model.spec, nodes * ranksPerNode, defaultPrecision(on.machine));
    return model.plan({ ...plan, ...order }, { on });
  }
  if (asksUniform(flags) || flags["global-batch"] !== undefined)
    throw new GalvatronError("ARGUMENT_INVALID", "Give --plan or degrees and a batch, not both.");
  const context = planFileContext(flags, session);
  const { model, plan: written } = readPlanFile(resolve(terminal.folder, file), context);
  const plan = { ...written, ...order };
  const handle = new ModelHandle(session, model);
  if (flags["machine"] === undefined) return handle.plan(plan);
  return handle.plan(plan, { on: await machineOf(flags, session) });
}
