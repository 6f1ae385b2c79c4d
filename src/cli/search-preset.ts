import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { writeStrategyConfig } from "../ancestor/strategy-json.js";
import { GalvatronError } from "../base/errors.js";
import { memoryBytes } from "../base/memory-size.js";
import { presetHardware } from "../cluster/presets.js";
import { analyticProfile } from "../model/analytic-profile.js";
import { planJsonText } from "../model/plan-json.js";
import { describePlan } from "../plan/describe-plan.js";
import { changeFromText, whatIfText } from "../search/change-text.js";
import { completeReport } from "../search/complete-report.js";
import { explain } from "../search/explain.js";
import { paretoFront } from "../search/pareto-front.js";
import { planDocument } from "../search/provenance.js";
import { type SearchInputs, search } from "../search/search.js";
import { whatIf } from "../search/what-if.js";
import { profileVersions } from "../session/session.js";
import { type FlagValues, neededFlag, textFlag, wholeFlag } from "./args.js";
import { modelOf, sessionOf } from "./model-flags.js";
import { batchOf, spaceOf } from "./space-flags.js";
import { printJson, type Terminal } from "./terminal.js";

/** `--machine dgx-a100-80gb --nodes 4`: plans for a machine by its published figures, without running anything. */
export function searchPreset(flags: FlagValues, terminal: Terminal): number {
  const hardware = presetHardware(
    neededFlag(flags, "machine", "dgx-a100-80gb"),
    wholeFlag(flags, "nodes"),
    wholeFlag(flags, "gpus-per-node"),
  );
  const model = modelOf(flags, sessionOf(flags, terminal)).spec;
  const { nodes, ranksPerNode, memoryBytesPerRank } = hardware.cluster;
  const memory = textFlag(flags, "memory");
  const globalBatch = batchOf(flags);
  const inputs: SearchInputs = {
    model,
    modelProfile: analyticProfile(model, hardware),
    hardware,
    budgetBytes: memory === undefined ? memoryBytesPerRank : memoryBytes(memory),
    ...(globalBatch !== undefined && { globalBatch }),
    space: spaceOf(flags, nodes * ranksPerNode),
  };
  const found = search(inputs, () => performance.now());
  const report = flags["all"] === true ? completeReport(inputs, found) : found;
  const explanation = flags["explain"] === true ? explain(inputs, report) : null;
  const front = wholeFlag(flags, "front");
  const points = front === undefined ? null : paretoFront(inputs, front);
  const changeText = textFlag(flags, "what-if");
  const changed = changeText === undefined ? null : whatIf(inputs, changeFromText(changeText));
  const output = textFlag(flags, "output");
  if (output !== undefined) save(resolve(terminal.folder, output), flags, inputs, report);
  if (flags["json"]) {
    printJson(terminal, {
      ...report,
      ...(explanation && { explanation }),
      ...(points && { front: points }),
      ...(changed && { whatIf: { speedup: changed.speedup, after: changed.after } }),
    });
    return 0;
  }
  const { stepMs, samplesPerSecond } = report.prediction;
  const lines = [
    ...describePlan(report.plan),
    `${stepMs.toPrecision(5)} ms a step, ${samplesPerSecond.toPrecision(5)} samples/s by estimates; gap ${(100 * report.gap).toFixed(2)} %`,
    ...(explanation ? ["", explanation.text] : []),
    ...(points ?? []).map(
      (point) =>
        `${(point.memoryBytes / 2 ** 30).toFixed(2)} GB: ${point.samplesPerSecond.toPrecision(5)} samples/s`,
    ),
    ...(changed && changeText !== undefined
      ? [whatIfText(changeText, changed.speedup, changed.after?.prediction.stepMs ?? null)]
      : []),
  ];
  terminal.out(`${lines.join("\n")}\n`);
  return 0;
}

/** Our plan file, or with `--format galvatron` the ancestor's. */
function save(
  path: string,
  flags: FlagValues,
  inputs: SearchInputs,
  report: ReturnType<typeof search>,
): void {
  const format = textFlag(flags, "format") ?? "plan";
  if (format !== "plan" && format !== "galvatron")
    throw new GalvatronError("ARGUMENT_INVALID", `--format expects plan or galvatron, got "${format}".`);
  const version = String(profileVersions()["galvatron"]);
  const text =
    format === "galvatron"
      ? `${JSON.stringify(writeStrategyConfig(report.plan), null, 2)}\n`
      : planJsonText(planDocument(inputs, report, version));
  try {
    writeFileSync(path, text);
  } catch (cause) {
    throw new GalvatronError("FILE_UNWRITABLE", `Cannot write the plan to ${path}.`, { path }, { cause });
  }
}
