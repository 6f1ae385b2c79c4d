import { BYTES_PER_MB } from "../base/units.js";
import { peakMemory } from "./memory.js";
import type { Instruction, InstructionLabel, Program } from "./program.js";
import { tensorBytes } from "./tensor-bytes.js";

/** A program for people: what it holds, then one line per instruction. `limit`: at most so many instructions. */
export function describeProgram(
  program: Program,
  limit: number = Number.POSITIVE_INFINITY,
): readonly string[] {
  const { instructions, buffers, tensors, groups } = program;
  const peak = peakMemory(program);
  const megabytes = (bytes: number): string => `${(bytes / BYTES_PER_MB).toFixed(1)} MB`;
  const lines = [
    `rank ${program.rank}: ${instructions.length} instructions, ${program.graphs.length} graphs, ` +
      `${buffers.length} buffers, ${tensors.length} tensors`,
    `arena ${megabytes(peak.arenaBytes)}, most alive ${megabytes(peak.liveBytes)} at ${peak.instruction}: ` +
      Object.entries(peak.byCategory)
        .filter(([, bytes]) => bytes > 0)
        .map(([category, bytes]) => `${category} ${megabytes(bytes)}`)
        .join(", "),
    ...groups.map((ranks, index) => `group ${index}: ranks ${ranks.join(", ")}`),
  ];
  for (const [index, instruction] of instructions.entries()) {
    if (index >= limit) {
      lines.push(`… ${instructions.length - limit} more`);
      break;
    }
    const waits = instruction.waits.length > 0 ? `  after ${instruction.waits.join(", ")}` : "";
    lines.push(
      `${String(index).padStart(5)} ${instruction.stream.padEnd(14)} ${labelText(instruction.label).padEnd(26)} ` +
        `${operationText(program, instruction)}${waits}`,
    );
  }
  return lines;
}

function labelText(label: InstructionLabel): string {
  const layer = label.layer === undefined ? "" : ` layer ${label.layer}`;
  const microBatch = label.microBatch === undefined ? "" : ` #${label.microBatch}`;
  return `${label.phase}${layer}${microBatch}`;
}

function operationText(program: Program, instruction: Instruction): string {
  const name = (tensor: number): string => program.tensors[tensor]!.name;
  const bytes = (tensor: number): number => tensorBytes(program.tensors[tensor]!);
  const names = (tensors: readonly number[]): string => tensors.map(name).join(", ");
  switch (instruction.op) {
    case "run":
      return `run ${program.graphs[instruction.graph]!.name}(${names(instruction.inputs)}) → ${names(instruction.outputs)}`;
    case "send":
      return `send ${name(instruction.tensor)} to ${instruction.peer} (${bytes(instruction.tensor)} bytes)`;
    case "receive":
      return `receive ${name(instruction.tensor)} from ${instruction.peer} (${bytes(instruction.tensor)} bytes)`;
    case "exchange": {
      const list = (pieces: typeof instruction.sends): string =>
        pieces.map(({ peer, tensor }) => `${peer}: ${bytes(tensor)}`).join(", ");
      return `exchange in group ${instruction.group}: sends {${list(instruction.sends)}} receives {${list(instruction.receives)}} bytes`;
    }
    case "copyBlock":
      return `copyBlock [${instruction.extent.join()}] of ${name(instruction.input)} at [${instruction.inputStart.join()}] → ${name(instruction.output)} at [${instruction.outputStart.join()}]`;
    case "copy":
    case "accumulate":
      return `${instruction.op} ${name(instruction.input)} → ${name(instruction.output)}`;
    case "fill":
      return `fill ${name(instruction.output)} with ${instruction.value}`;
    case "sumSquares":
      return `sumSquares of ${instruction.inputs.length} pieces → ${name(instruction.output)}`;
    case "clip":
      return `clip → ${name(instruction.output)}`;
    case "adamw":
      return `adamw ${name(instruction.parameter)}, decays ${instruction.decayElements} elements`;
    default:
      return `${instruction.op} in group ${instruction.group}: ${name(instruction.input)} → ${"accumulates" in instruction ? "onto " : ""}${name(instruction.output)} (${bytes(instruction.input)} bytes)`;
  }
}
