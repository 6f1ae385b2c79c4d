import type { Instruction, Program } from "../program/program.js";

/** Any value that keeps products finite. */
const PLACEHOLDER = 0.01;

/**
 * A rank's Program as one rank can run it alone, to time its graphs: what others would send is a constant, and the
 * optimizer does nothing. Instructions keep their places.
 */
export function localProgram(program: Program, rank: number): Program {
  const scratch = program.tensors.length;
  const scratchBuffer = program.buffers.length;
  const nothing = (instruction: Instruction, output: number): Instruction => ({
    op: "fill",
    stream: instruction.stream,
    waits: instruction.waits,
    label: instruction.label,
    value: PLACEHOLDER,
    output,
  });
  const instructions = program.instructions.map((instruction): Instruction => {
    switch (instruction.op) {
      case "allReduce":
      case "allGather":
      case "reduceScatter":
      case "allToAll":
      case "broadcast":
        return nothing(instruction, instruction.output);
      case "receive":
        return nothing(instruction, instruction.tensor);
      case "send":
      case "exchange":
      case "sumSquares":
      case "clip":
      case "adamw":
        return nothing(instruction, scratch);
      default:
        return instruction;
    }
  });
  return {
    ...program,
    rank,
    groups: [],
    instructions,
    buffers: [
      ...program.buffers,
      {
        name: "scratch",
        category: "io",
        sizeBytes: 4,
        offsetBytes: program.arenaBytes,
        persistent: true,
        first: 0,
        last: Math.max(0, instructions.length - 1),
      },
    ],
    tensors: [
      ...program.tensors,
      { name: "scratch", buffer: scratchBuffer, offsetBytes: 0, dtype: "float32", shape: [1] },
    ],
    arenaBytes: program.arenaBytes + 256,
  };
}
