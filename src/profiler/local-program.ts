import { DTYPE_BYTES } from "../base/units.js";
import type { CollectiveInstruction, Instruction, Program, TensorView } from "../program/program.js";

/** Any value that keeps products finite. */
const FILLER = 0.01;

type Place = Pick<Instruction, "stream" | "label">;

/** A rank's Program as it is run to be timed. */
export interface LocalProgram {
  readonly program: Program;
  /** Where each instruction of the Program it was made from stands in it. */
  readonly places: readonly number[];
}

/**
 * A rank's Program as one rank can run it alone, to time its graphs: what others would send is a copy of its own
 * share, since products of equal numbers take less power and so less time, and the optimizer does nothing.
 *
 * @param keeps - what stays as it is, collectives with others too
 */
export function localProgram(
  program: Program,
  rank: number,
  keeps: (instruction: Instruction) => boolean = () => false,
): LocalProgram {
  const tensors: TensorView[] = [...program.tensors];
  const scratch = tensors.push({
    name: "scratch",
    buffer: program.buffers.length,
    offsetBytes: 0,
    dtype: "float32",
    shape: [1],
  });
  const fill = ({ stream, label }: Place, output: number): Instruction => ({
    op: "fill",
    stream,
    label,
    waits: [],
    value: FILLER,
    output,
  });
  const nothing = (instruction: Place): Instruction => fill(instruction, scratch - 1);
  const copy = ({ stream, label }: Place, input: number, output: number): Instruction => {
    const [from, to] = [tensors[input]!, tensors[output]!];
    return from.buffer === to.buffer && from.offsetBytes === to.offsetBytes
      ? nothing({ stream, label })
      : { op: "copy", stream, label, waits: [], input, output };
  };
  /** Piece `index` of a tensor, as large as `like`. */
  const piece = (tensor: number, like: number, index: number): number => {
    const { name, buffer, offsetBytes, dtype } = tensors[tensor]!;
    const { shape } = tensors[like]!;
    const offset = offsetBytes + index * DTYPE_BYTES[dtype] * elementsOf(shape);
    return tensors.push({ name, buffer, offsetBytes: offset, dtype, shape }) - 1;
  };
  const collective = (it: CollectiveInstruction): readonly Instruction[] => {
    const { input, output } = it;
    const ratio = elementsOf(tensors[output]!.shape) / elementsOf(tensors[input]!.shape);
    if (it.op === "reduceScatter") return [copy(it, piece(input, output, 0), output)];
    if (it.op !== "allGather") return [copy(it, input, output)];
    return Array.from({ length: ratio }, (_, index) => copy(it, input, piece(output, input, index)));
  };
  const alone = (instruction: Instruction): readonly Instruction[] => {
    if (keeps(instruction)) return [instruction];
    switch (instruction.op) {
      case "allReduce":
      case "allGather":
      case "reduceScatter":
      case "allToAll":
      case "broadcast":
        return collective(instruction);
      case "receive":
        return [fill(instruction, instruction.tensor)];
      case "send":
      case "exchange":
      case "sumSquares":
      case "clip":
      case "adamw":
        return [nothing(instruction)];
      default:
        return [instruction];
    }
  };
  const places: number[] = [];
  const instructions: Instruction[] = [];
  for (const instruction of program.instructions) {
    const [first, ...rest] = alone(instruction);
    instructions.push({ ...first!, waits: instruction.waits.map((wait) => places[wait]!) }, ...rest);
    places.push(instructions.length - 1);
  }
  return {
    places,
    program: {
      ...program,
      rank,
      groups: instructions.some((it) => "group" in it) ? program.groups : [],
      instructions,
      buffers: [
        ...program.buffers.map((buffer) => ({
          ...buffer,
          first: buffer.first < 0 ? buffer.first : places[buffer.first]!,
          last: buffer.last < 0 ? buffer.last : places[buffer.last]!,
        })),
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
      tensors,
      arenaBytes: program.arenaBytes + 256,
    },
  };
}

/**
 * A rank's Program where as many groups as the ranks make run these Programs of one stage side by side, each within itself.
 * All is as it is, the optimizer too, but gradients are not reduced: that would run beside what is timed.
 */
export function programInGroup(programs: readonly Program[], rank: number): LocalProgram {
  const within = rank % programs.length;
  const program = programs[within]!;
  const groups = program.groups.map((group) => group.map((member) => member + rank - within));
  return localProgram({ ...program, groups }, rank, ({ label }) => label.phase !== "reduce");
}

function elementsOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
