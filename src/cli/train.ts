import { dirname, resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import type { BatchRamp } from "../runtime/batch-ramp.js";
import type { PlanHandle } from "../session/plan-handle.js";
import type { Session } from "../session/session.js";
import type { CheckpointOptions } from "../session/training-job.js";
import {
  type FlagValues,
  neededFlag,
  orderFlag,
  readArguments,
  realFlag,
  textFlag,
  wholeFlag,
} from "./args.js";
import { DATA_FLAGS, dataOf } from "./data-flags.js";
import { clusterOf, MODEL_FLAGS, modelOf, SESSION_FLAGS, sessionOf } from "./model-flags.js";
import { pricedPlan } from "./plan.js";
import { type Command, printJson, type Terminal } from "./terminal.js";
import { asksUniform, UNIFORM_FLAGS, UNIFORM_SWITCHES } from "./uniform-flags.js";

/** `galvatron train --plan plan.json --data 'src/**' --steps 200`, or with `--model … --memory …` instead of a plan, or
 * with uniform degrees: `--model … --pipeline 2 --tensor 2 --global-batch 8`. The plan file may be the ancestor's.
 * `--weights DIR` starts from Hugging Face weights, `--export DIR` writes such in the end.
 * `--ramp-up 2,2,64` starts with 2 samples a step and adds 2 until, after 64 samples, the batch is the plan's.
 * `--gradient-order deferred` adds gradients up where it is cheapest, and not in the host's canonical order.
 * `--checkpoint DIR --every 50 --keep 3` saves on the way, `--resume DIR` goes on from what was saved. */
export const trainCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [
      ...MODEL_FLAGS,
      ...SESSION_FLAGS,
      "plan",
      "memory",
      "global-batch",
      "precision",
      "gradient-order",
      ...UNIFORM_FLAGS,
      ...DATA_FLAGS,
      "steps",
      "seed",
      "learning-rate",
      "ramp-up",
      "checkpoint",
      "every",
      "keep",
      "resume",
      "weights",
      "export",
    ],
    switches: ["json", "quiet", "synthetic", ...UNIFORM_SWITCHES],
  });
  const session = sessionOf(flags, terminal);
  const steps = wholeFlag(flags, "steps") ?? 100;
  const data = dataOf(flags, session.folder);
  const learningRate = realFlag(flags, "learning-rate");
  const seed = wholeFlag(flags, "seed");
  const rampUp = rampUpOf(flags);
  const gradientOrder = orderFlag(flags);
  const checkpoint = checkpointOf(flags, terminal);
  const resume = textFlag(flags, "resume");
  const [weights, exported] = ["weights", "export"].map((name) => {
    const folder = textFlag(flags, name);
    return folder === undefined ? undefined : resolve(terminal.folder, folder);
  });
  // After all flags are read: there may be a machine to profile first.
  const plan = await planOf(flags, session, terminal);
  const run = plan.train({
    data,
    steps,
    ...(seed !== undefined && { seed }),
    ...(learningRate !== undefined && { learningRate }),
    ...(rampUp && { rampUp }),
    ...(gradientOrder && { gradientOrder }),
    ...(checkpoint && { checkpoint }),
    ...(resume !== undefined && { resume: resolve(terminal.folder, resume) }),
    ...(weights !== undefined && { weights }),
    ...(exported !== undefined && { export: exported }),
  });
  terminal.onInterrupt(() => run.stop({ checkpoint: checkpoint !== undefined }));
  const bar = session.reporter.progress("Training");
  for await (const step of run)
    bar.update({
      label: `step ${step.step + 1}/${steps}, loss ${step.loss.toFixed(4)}, ${Math.round(step.tokensPerSecond)} tokens/s`,
      done: step.step + 1,
      total: steps,
    });
  bar.end();
  const report = await run.done;
  const saved = run.checkpoints.at(-1);
  if (flags["json"])
    printJson(terminal, {
      ...report,
      text: undefined,
      plan: plan.data,
      checkpoints: run.checkpoints,
      losses: run.records.filter((record) => record.rank === 0).map((record) => record.loss),
    });
  else
    terminal.out(
      `${plan}\n\n${report.text}\n${saved ? `\nSaved: ${saved.path} (go on with --resume ${dirname(saved.path)})\n` : ""}`,
    );
  return 0;
};

/** @throws GalvatronError ARGUMENT_INVALID */
function rampUpOf(flags: FlagValues): BatchRamp | undefined {
  const given = textFlag(flags, "ramp-up");
  if (given === undefined) return undefined;
  const [start, increment, samples, ...more] = given.split(",").map(Number);
  if (start !== undefined && increment !== undefined && samples !== undefined && more.length === 0)
    return { start, increment, samples };
  throw new GalvatronError(
    "ARGUMENT_INVALID",
    `Expected --ramp-up START,INCREMENT,SAMPLES such as 16,16,4096, got ${given}.`,
    { given },
  );
}

/** @throws GalvatronError ARGUMENT_INVALID */
function checkpointOf(flags: FlagValues, terminal: Terminal): CheckpointOptions | undefined {
  const folder = textFlag(flags, "checkpoint");
  const every = wholeFlag(flags, "every");
  const keep = wholeFlag(flags, "keep");
  if (folder !== undefined)
    return {
      folder: resolve(terminal.folder, folder),
      ...(every !== undefined && { every }),
      ...(keep !== undefined && { keep }),
    };
  if (every !== undefined || keep !== undefined)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      "--every and --keep say how checkpoints are saved: give --checkpoint DIR too.",
    );
  return undefined;
}

async function planOf(flags: FlagValues, session: Session, terminal: Terminal): Promise<PlanHandle> {
  const uniform = asksUniform(flags);
  if (uniform || flags["plan"] !== undefined) {
    if (flags["memory"] !== undefined)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        `Give ${uniform ? "degrees" : "--plan"} or --memory, not both: with --memory the search decides.`,
      );
    return pricedPlan(flags, session, terminal);
  }
  if (flags["precision"] !== undefined)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      "--precision goes with degrees, or with a plan file without one.",
    );
  const memory = neededFlag(flags, "memory", "2GB (or --plan plan.json, or degrees such as --tensor 2)");
  const globalBatch = wholeFlag(flags, "global-batch");
  const model = modelOf(flags, session);
  const on = await clusterOf(flags, session).profile();
  const gradientOrder = orderFlag(flags);
  return model.search(memory, {
    on,
    ...(globalBatch !== undefined && { globalBatch }),
    ...(gradientOrder && { gradientOrder }),
  });
}
