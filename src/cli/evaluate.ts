import { resolve } from "node:path";
import { readArguments, textFlag, wholeFlag } from "./args.js";
import { DATA_FLAGS, dataOf } from "./data-flags.js";
import { MODEL_FLAGS, SESSION_FLAGS, sessionOf } from "./model-flags.js";
import { pricedPlan } from "./plan.js";
import { type Command, printJson } from "./terminal.js";
import { UNIFORM_FLAGS, UNIFORM_SWITCHES } from "./uniform-flags.js";

/**
 * `galvatron evaluate --plan plan.json --data 'docs/**' --held-out 0.05 --checkpoint runs/a`: the loss of what was trained,
 * on held-out samples, or on all where nothing is held out. `--weights DIR` evaluates Hugging Face weights, neither of the
 * two the parameters of `--seed`; `--samples` bounds how many are read.
 */
export const evaluateCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [
      ...MODEL_FLAGS,
      ...SESSION_FLAGS,
      ...UNIFORM_FLAGS,
      ...DATA_FLAGS,
      ...["plan", "global-batch", "precision", "gradient-order", "checkpoint", "weights", "seed", "samples"],
    ],
    switches: ["json", "quiet", "synthetic", ...UNIFORM_SWITCHES],
  });
  const session = sessionOf(flags, terminal);
  const data = dataOf(flags, session.folder);
  const [samples, seed] = [wholeFlag(flags, "samples"), wholeFlag(flags, "seed")];
  const [checkpoint, weights] = ["checkpoint", "weights"].map((name) => {
    const folder = textFlag(flags, name);
    return folder === undefined ? undefined : resolve(terminal.folder, folder);
  });
  const plan = await pricedPlan(flags, session, terminal);
  const evaluation = await plan.evaluate({
    data,
    ...(samples !== undefined && { samples }),
    ...(seed !== undefined && { seed }),
    ...(checkpoint !== undefined && { checkpoint }),
    ...(weights !== undefined && { weights }),
  });
  const { loss, accuracy, steps } = evaluation;
  if (flags["json"]) printJson(terminal, evaluation);
  else
    terminal.out(
      `loss ${loss.toFixed(4)}${accuracy === null ? "" : `, accuracy ${(100 * accuracy).toFixed(2)} %`} on ${evaluation.samples} samples after ${steps} steps\n`,
    );
  return 0;
};
