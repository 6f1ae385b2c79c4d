import { resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { describePlan } from "../plan/describe-plan.js";
import { type FlagValues, neededFlag, readArguments, textFlag } from "./args.js";
import { clusterOf, MODEL_FLAGS, modelOf, SESSION_FLAGS, sessionOf } from "./model-flags.js";
import { batchOf, SPACE_FLAGS, spaceOf } from "./space-flags.js";
import { type Command, printJson, type Terminal } from "./terminal.js";

/** `galvatron search --model … --memory 2GB`: the fastest plan that fits. */
export const searchCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [
      ...MODEL_FLAGS,
      ...SESSION_FLAGS,
      ...SPACE_FLAGS,
      ...["memory", "global-batch", "output", "format", "case", "inputs", "cost"],
      ...["machine", "nodes", "gpus-per-node", "what-if", "front"],
    ],
    switches: ["json", "quiet", "unrestricted", "explain", "all"],
  });
  if (flags["case"] !== undefined) return caseOf(flags, terminal);
  if (flags["machine"] !== undefined) {
    const { searchPreset } = await import("./search-preset.js");
    return searchPreset(flags, terminal);
  }
  for (const flag of ["nodes", "gpus-per-node", "what-if", "front", "format", "explain", "all"])
    if (flags[flag] !== undefined)
      throw new GalvatronError("ARGUMENT_INVALID", `--${flag} goes with --machine NAME.`, { flag });
  const memory = neededFlag(flags, "memory", "2GB");
  const session = sessionOf(flags, terminal);
  const model = modelOf(flags, session);
  const globalBatch = batchOf(flags);
  const machine = await clusterOf(flags, session).profile();
  const plan = await model.search(memory, {
    on: machine,
    ...(globalBatch !== undefined && { globalBatch }),
    space: spaceOf(flags, machine.data.ranksPerNode),
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

/** `--case FILE --inputs DIR --cost galvatron3`: a search of the ancestor's, under the ancestor's cost model. */
async function caseOf(flags: FlagValues, terminal: Terminal): Promise<number> {
  const cost = textFlag(flags, "cost") ?? "galvatron3";
  if (cost !== "galvatron3")
    throw new GalvatronError("ARGUMENT_INVALID", `--case knows --cost galvatron3 only, got "${cost}".`, {
      cost,
    });
  const { searchCase } = await import("./search-case.js");
  const result = await searchCase({
    file: resolve(terminal.folder, neededFlag(flags, "case", "case.json")),
    inputs: resolve(terminal.folder, neededFlag(flags, "inputs", "profiles")),
    which: flags["unrestricted"] === true ? "unrestricted" : "even",
  });
  if (flags["json"]) printJson(terminal, result);
  else if (result.plan)
    terminal.out(`${describePlan(result.plan).join("\n")}\n${result.throughput.toFixed(3)} samples/s\n`);
  else terminal.out(`No plan fits: ${result.reasons.join("; ")}\n`);
  return 0;
}
