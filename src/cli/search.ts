import { resolve } from "node:path";
import { neededFlag, readArguments, textFlag, wholeFlag } from "./args.js";
import { clusterOf, MODEL_FLAGS, modelOf, SESSION_FLAGS, sessionOf } from "./model-flags.js";
import { type Command, printJson } from "./terminal.js";

/** `galvatron search --model … --memory 2GB`: the fastest plan that fits. */
export const searchCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [...MODEL_FLAGS, ...SESSION_FLAGS, "memory", "global-batch", "output"],
    switches: ["json", "quiet"],
  });
  const memory = neededFlag(flags, "memory", "2GB");
  const session = sessionOf(flags, terminal);
  const model = modelOf(flags, session);
  const globalBatch = wholeFlag(flags, "global-batch");
  const machine = await clusterOf(flags, session).profile();
  const plan = await model.search(memory, {
    on: machine,
    ...(globalBatch !== undefined && { globalBatch }),
  });
  const output = textFlag(flags, "output");
  if (output !== undefined) plan.save(resolve(terminal.folder, output));
  if (flags["json"])
    printJson(terminal, {
      plan: plan.data,
      prediction: plan.prediction,
      memoryBytesByRank: plan.memoryBytesByRank(),
      report: { ...plan.report, plan: undefined, prediction: undefined },
    });
  else terminal.out(`${plan.explain()}\n${output === undefined ? "" : `\nWritten to ${output}\n`}`);
  return 0;
};
