import { resolve } from "node:path";
import { writeStrategyConfig } from "../ancestor/strategy-json.js";
import { GalvatronError } from "../base/errors.js";
import type { PlanHandle } from "../session/plan-handle.js";
import { writeTextFile } from "../session/write-text-file.js";
import { choiceFlag, type FlagValues, textFlag } from "./args.js";
import type { Terminal } from "./terminal.js";

/** Flags that say where a plan is written, and in whose format. */
export const OUTPUT_FLAGS: readonly string[] = ["output", "format"];

/**
 * Writes the plan to `--output`: our plan file, or with `--format galvatron` the ancestor's. Returns a line about it.
 * @throws GalvatronError ARGUMENT_INVALID, FILE_UNWRITABLE, PLAN_INVALID with what the ancestor's format cannot say
 */
export function writePlan(plan: PlanHandle, flags: FlagValues, terminal: Terminal): readonly string[] {
  const output = textFlag(flags, "output");
  const format = choiceFlag(flags, "format", ["plan", "galvatron"]);
  if (output === undefined) {
    if (format !== undefined)
      throw new GalvatronError(
        "ARGUMENT_INVALID",
        "--format is of the file written: give --output FILE too.",
      );
    return [];
  }
  const path = resolve(terminal.folder, output);
  if (format !== "galvatron") plan.save(path);
  else {
    writeTextFile(path, "the plan", `${JSON.stringify(writeStrategyConfig(plan.data), null, 2)}\n`);
  }
  return ["", `Written to ${output}`];
}
