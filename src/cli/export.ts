import { resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { compilePlan } from "../runtime/compile-plan.js";
import { machinePoolOptions } from "../runtime/coordinator/host-pool.js";
import { ownMachine } from "../session/own-machine.js";
import { type ExportSource, exportJob, exportStates, type WeightsOptions } from "../session/weights.js";
import { neededFlag, readArguments, textFlag } from "./args.js";
import { sessionOf } from "./model-flags.js";
import { PLAN_FILE_FLAGS, planFileContext, readPlanFile } from "./plan-file.js";
import { type Command, printJson } from "./terminal.js";

/**
 * `galvatron export --plan plan.json --checkpoint DIR --output DIR [--dtype bfloat16]`: a checkpoint as a Hugging Face
 * model. `--weights DIR` takes Hugging Face weights instead, to write them in another element type.
 */
export const exportCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [...PLAN_FILE_FLAGS, "plan", "checkpoint", "weights", "output", "dtype", "folder"],
    switches: ["json", "quiet"],
  });
  const session = sessionOf(flags, terminal);
  const file = resolve(terminal.folder, neededFlag(flags, "plan", "plan.json"));
  const { model, plan } = readPlanFile(file, planFileContext(flags, session));
  const folder = resolve(terminal.folder, neededFlag(flags, "output", "model"));
  const dtype = textFlag(flags, "dtype") as WeightsOptions["dtype"];
  const job = exportJob(session, { folder, ...(dtype !== undefined && { dtype }) }, model);
  const weights = textFlag(flags, "weights");
  if (weights !== undefined && flags["checkpoint"] !== undefined)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      "Give --checkpoint or --weights, not both: one model is written.",
    );
  const from: ExportSource =
    weights === undefined ? { checkpoint: neededFlag(flags, "checkpoint", "checkpoints") } : { weights };
  const machine = ownMachine(undefined, plan.ranks);
  // Nothing is added up: any device writes the states of any plan.
  const written = { ...plan, gradientOrder: "deferred" as const };
  const lowered = compilePlan(model, written, { device: machine.cluster.device });
  await exportStates(session, lowered, machinePoolOptions(machine, plan.ranks), from, job);
  if (flags["json"]) printJson(terminal, { folder, model: model.name });
  else terminal.out(`Written: ${folder}\n`);
  return 0;
};
