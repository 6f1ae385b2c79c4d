import { resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { memoryBytes, memoryText, neededText } from "../base/memory-size.js";
import { describePlan } from "../plan/describe-plan.js";
import { changeFromText, whatIfText } from "../search/change-text.js";
import type { Candidate } from "../search/search-report.js";
import { type FlagValues, neededFlag, orderFlag, readArguments, textFlag, wholeFlag } from "./args.js";
import { MACHINE_FLAGS, MODEL_FLAGS, machineOf, modelOf, SESSION_FLAGS, sessionOf } from "./model-flags.js";
import { OUTPUT_FLAGS, writePlan } from "./plan-output.js";
import { batchOf, SPACE_FLAGS, spaceOf } from "./space-flags.js";
import { type Command, printJson, type Terminal } from "./terminal.js";

/**
 * `galvatron search --model … --memory 2GB`: the fastest plan that fits. `--machine dgx-a100-80gb --nodes 4` plans for a
 * machine by its published figures, without running anything. `--gradient-order deferred` adds gradients up where it is
 * cheapest, and not in the host's canonical order.
 */
export const searchCommand: Command = async (args, terminal) => {
  const { flags } = readArguments(args, {
    values: [
      ...MODEL_FLAGS,
      ...SESSION_FLAGS,
      ...SPACE_FLAGS,
      ...MACHINE_FLAGS,
      ...OUTPUT_FLAGS,
      ...["memory", "global-batch", "gradient-order", "case", "inputs", "cost", "what-if", "front"],
    ],
    switches: ["json", "quiet", "unrestricted", "explain", "all"],
  });
  if (flags["case"] !== undefined) return caseOf(flags, terminal);
  const changeText = textFlag(flags, "what-if");
  const change = changeText === undefined ? null : changeFromText(changeText);
  const points = wholeFlag(flags, "front");
  const globalBatch = batchOf(flags);
  const gradientOrder = orderFlag(flags);
  const memory =
    flags["machine"] === undefined ? neededFlag(flags, "memory", "2GB") : textFlag(flags, "memory");
  const session = sessionOf(flags, terminal);
  const model = modelOf(flags, session);
  if (memory !== undefined) memoryBytes(memory);
  const on = await machineOf(flags, session);
  const { nodes, ranksPerNode, memoryBytesPerRank } = on.data;
  const plan = await model.search(memory ?? memoryBytesPerRank, {
    on,
    ...(globalBatch !== undefined && { globalBatch }),
    ...(gradientOrder && { gradientOrder }),
    space: spaceOf(flags, nodes * ranksPerNode),
  });
  const report = flags["all"] === true ? plan.completeReport() : plan.report;
  const explanation = flags["explain"] === true ? plan.explanation() : null;
  const front = points === undefined ? null : plan.front(points);
  const changed = change && plan.whatIf(change);
  const written = writePlan(plan, flags, terminal);
  if (flags["json"]) {
    printJson(terminal, {
      ...report,
      memoryBytesByRank: plan.memoryBytesByRank(),
      ...(explanation && { explanation }),
      ...(front && { front }),
      ...(changed && { whatIf: { speedup: changed.speedup, after: changed.after } }),
    });
    return 0;
  }
  const lines = [
    `${plan}`,
    `${report.prediction.samplesPerSecond.toPrecision(5)} samples/s${on.elsewhere ? " by estimates" : ""}; gap ${(100 * report.gap).toFixed(2)} %; the smallest budget with any plan is ${neededText(report.smallestBudgetBytes)} a rank`,
    ...(flags["all"] === true ? ["", ...report.candidates.map(candidateText)] : []),
    ...(explanation ? ["", explanation.text] : []),
    ...(front ?? []).map(
      (point) => `${memoryText(point.memoryBytes)}: ${point.samplesPerSecond.toPrecision(5)} samples/s`,
    ),
    ...(changed && changeText !== undefined
      ? [whatIfText(changeText, changed.speedup, changed.after?.prediction.stepMs ?? null)]
      : []),
    ...written,
  ];
  terminal.out(`${lines.join("\n")}\n`);
  return 0;
};

function candidateText(candidate: Candidate): string {
  const { globalBatch, microBatches, stages, schedule, stepMs, memoryBytes: bytes, reason } = candidate;
  const outcome =
    stepMs === null || bytes === null ? reason : `${stepMs.toPrecision(5)} ms a step, ${memoryText(bytes)}`;
  return `batch ${globalBatch}, ${microBatches} micro-batches, ${stages} stages, ${schedule}: ${outcome}`;
}

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
