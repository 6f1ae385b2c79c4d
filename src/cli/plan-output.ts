import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { writeStrategyConfig } from "../ancestor/strategy-json.js";
import { GalvatronError } from "../base/errors.js";
import type { PlanHandle } from "../session/plan-handle.js";
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
    const text = `${JSON.stringify(writeStrategyConfig(plan.data), null, 2)}\n`;
    try {
      writeFileSync(path, text);
    } catch (cause) {
      throw new GalvatronError("FILE_UNWRITABLE", `Cannot write the plan to ${path}.`, { path }, { cause });
    }
  }
  return ["", `Written to ${output}`];
}
