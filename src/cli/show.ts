import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { GalvatronError } from "../base/errors.js";
import { memoryText } from "../base/memory-size.js";
import { type Cell, textTable } from "../display/html-table.js";
import { describePlan } from "../plan/describe-plan.js";
import { recordsOfFile } from "../profiler/file-table.js";
import type { Program } from "../program/program.js";
import { compilePlan } from "../runtime/compile-plan.js";
import { readArguments, wholeFlag } from "./args.js";
import { sessionOf } from "./model-flags.js";
import { PLAN_FILE_FLAGS, planFileContext, readPlanFile } from "./plan-file.js";
import { type Command, printJson } from "./terminal.js";

/** `galvatron show profile|plan|program FILE`: what a file holds, in words or as JSON; the ancestor's with `--model …`. */
export const showCommand: Command = async (args, terminal) => {
  const { flags, words } = readArguments(args, {
    words: true,
    values: ["rank", "folder", ...PLAN_FILE_FLAGS],
    switches: ["json", "quiet"],
  });
  const [what, file] = words;
  if ((what !== "profile" && what !== "plan" && what !== "program") || file === undefined)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      'Expected "show profile FILE.arrow", "show plan FILE.json" or "show program FILE.json --rank 0".',
    );
  const path = resolve(terminal.folder, file);
  if (what === "profile") {
    const records = recordsOfFile(bytesOf(path));
    if (flags["json"]) printJson(terminal, records);
    else {
      const columns = Object.keys(records[0] ?? {});
      terminal.out(
        `${textTable(
          columns,
          records.map((record) => columns.map((column) => record[column] as Cell)),
        )}\n`,
      );
    }
    return 0;
  }
  const { model, plan } = readPlanFile(path, planFileContext(flags, sessionOf(flags, terminal)));
  if (what === "plan") {
    if (flags["json"]) printJson(terminal, { model, plan });
    else terminal.out(`${model.name}, ${model.layers.length} layers\n${describePlan(plan).join("\n")}\n`);
    return 0;
  }
  const { programs } = compilePlan(model, plan);
  const rank = wholeFlag(flags, "rank") ?? 0;
  const program = programs[rank];
  if (!program)
    throw new GalvatronError(
      "ARGUMENT_INVALID",
      `The plan has ranks 0 to ${programs.length - 1}, not ${rank}.`,
      { rank },
    );
  if (flags["json"]) printJson(terminal, program);
  else terminal.out(programText(program));
  return 0;
};

function bytesOf(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new GalvatronError("FILE_UNREADABLE", `Cannot read ${path}. Check the path.`, { path }, { cause });
  }
}

/** Every instruction on a line. */
function programText(program: Program): string {
  const lines = program.instructions.map((instruction, index) => {
    const { op, stream, label, waits } = instruction;
    const where = [
      label.phase,
      label.layer === undefined ? "" : `layer ${label.layer}`,
      label.microBatch === undefined ? "" : `micro-batch ${label.microBatch}`,
    ].filter((part) => part !== "");
    const graph = op === "run" ? ` ${program.graphs[instruction.graph]!.name}` : "";
    const after = waits.length > 0 ? ` after ${waits.join(", ")}` : "";
    return `${String(index).padStart(5)} ${stream.padEnd(14)} ${op}${graph} (${where.join(", ")})${after}`;
  });
  return [
    `rank ${program.rank}: ${program.instructions.length} instructions, ${program.graphs.length} graphs, ${program.buffers.length} buffers in ${memoryText(program.arenaBytes)}`,
    ...lines,
    "",
  ].join("\n");
}
