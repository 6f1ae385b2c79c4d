import { assertNever } from "../base/errors.js";
import { product } from "./flat-layout.js";
import { forEachRead, forEachWrite } from "./instruction-access.js";
import { EXACT_LIMBS, type Instruction, type Program, type TensorView } from "./program.js";
import { tensorBytes } from "./tensor-bytes.js";

/** Everything about one program that can be seen without running it: indices, places, shapes, element types. */
export function shapeProblems(program: Program): readonly string[] {
  const problems: string[] = [];
  const say = (text: string): void => {
    problems.push(`rank ${program.rank}: ${text}`);
  };
  for (const buffer of program.buffers) {
    if (buffer.offsetBytes < 0 || buffer.offsetBytes + buffer.sizeBytes > program.arenaBytes) {
      say(`buffer ${buffer.name} lies outside the arena`);
    }
  }
  for (const tensor of program.tensors) {
    const buffer = program.buffers[tensor.buffer];
    const bytes = tensorBytes(tensor);
    if (buffer === undefined) say(`tensor ${tensor.name} names no buffer`);
    else if (tensor.offsetBytes < 0 || tensor.offsetBytes + bytes > buffer.sizeBytes) {
      say(`tensor ${tensor.name} lies outside its buffer ${buffer.name}`);
    }
  }
  for (const [index, instruction] of program.instructions.entries()) {
    let known = true;
    const check = (tensor: number): void => {
      if (program.tensors[tensor] === undefined) known = false;
    };
    forEachRead(instruction, check);
    forEachWrite(instruction, check);
    const where = `instruction ${index} (${instruction.op})`;
    if (!known) {
      say(`${where} names a tensor that is not there`);
      continue;
    }
    for (const wait of instruction.waits) {
      if (!(wait >= 0 && wait < index)) say(`${where} waits for ${wait}, which is not before it`);
    }
    if ("group" in instruction) {
      const group = program.groups[instruction.group];
      if (!group?.includes(program.rank)) {
        say(`${where} is over a group that rank ${program.rank} is not in`);
        continue;
      }
    }
    for (const problem of operandProblems(program, instruction)) say(`${where}: ${problem}`);
  }
  return problems;
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let axis = 0; axis < a.length; axis++) if (a[axis] !== b[axis]) return false;
  return true;
}

function operandProblems(program: Program, instruction: Instruction): readonly string[] {
  const tensor = (index: number): TensorView => program.tensors[index]!;
  const elements = (index: number): number => product(tensor(index).shape);
  const problems: string[] = [];
  const expect = (holds: boolean, text: string): void => {
    if (!holds) problems.push(text);
  };
  const sameDtype = (...tensors: readonly number[]): void => {
    const dtypes = new Set(tensors.map((one) => tensor(one).dtype));
    expect(dtypes.size === 1, `operands are ${[...dtypes].join(" and ")}`);
  };
  switch (instruction.op) {
    case "run": {
      const graph = program.graphs[instruction.graph];
      if (graph === undefined) return ["names no graph"];
      for (const [tensors, ports] of [
        [instruction.inputs, graph.inputs],
        [instruction.outputs, graph.outputs],
      ] as const) {
        if (tensors.length !== ports.length) {
          problems.push(`${tensors.length} tensors for ${ports.length} ports of ${graph.name}`);
        }
        for (const [i, port] of ports.entries()) {
          const view = program.tensors[tensors[i] ?? -1];
          if (view === undefined) continue;
          if (view.dtype !== port.dtype || !sameShape(view.shape, port.shape)) {
            problems.push(
              `${view.name} is ${view.dtype} [${view.shape.join()}], port ${port.name} of ${graph.name} ${port.dtype} [${port.shape.join()}]`,
            );
          }
        }
      }
      break;
    }
    case "allReduce":
    case "allToAll":
    case "broadcast":
    case "allGather":
    case "reduceScatter": {
      const ranks = program.groups[instruction.group]!.length;
      const [into, out] = [elements(instruction.input), elements(instruction.output)];
      const factor = { allGather: ranks, reduceScatter: 1 / ranks }[instruction.op as string] ?? 1;
      expect(out === into * factor, `${into} elements in, ${out} out, over ${ranks} ranks`);
      if (instruction.op === "allToAll") expect(into % ranks === 0, `${into} elements over ${ranks} ranks`);
      sameDtype(instruction.input, instruction.output);
      const [own, whole] = [tensor(instruction.input), tensor(instruction.output)];
      if (instruction.op === "allGather" && own.buffer === whole.buffer) {
        const place = program.groups[instruction.group]!.indexOf(program.rank);
        expect(
          own.offsetBytes === whole.offsetBytes + place * tensorBytes(own),
          "gathers in place, but its piece lies in another's",
        );
      }
      if (instruction.accumulates) {
        const sums = instruction.op === "reduceScatter" && instruction.reduction === "sum";
        expect(sums, "only a reduceScatter of sums adds to its output");
        expect(
          tensor(instruction.input).buffer !== tensor(instruction.output).buffer,
          "adds to a piece of what it reduces",
        );
      }
      break;
    }
    case "copy":
    case "accumulate":
      expect(elements(instruction.input) === elements(instruction.output), "input and output differ in size");
      break;
    case "copyBlock": {
      sameDtype(instruction.input, instruction.output);
      for (const [view, start] of [
        [tensor(instruction.input), instruction.inputStart],
        [tensor(instruction.output), instruction.outputStart],
      ] as const) {
        const inside =
          view.shape.length === instruction.extent.length &&
          instruction.extent.every(
            (extent, axis) => start[axis]! >= 0 && start[axis]! + extent <= view.shape[axis]!,
          );
        expect(
          inside,
          `block [${instruction.extent.join()}] at [${start.join()}] lies outside ${view.name} [${view.shape.join()}]`,
        );
      }
      break;
    }
    case "exchange": {
      const group = program.groups[instruction.group]!;
      for (const { peer } of [...instruction.sends, ...instruction.receives]) {
        expect(
          peer !== program.rank && group.includes(peer),
          `piece for rank ${peer}, no other member of the group`,
        );
      }
      break;
    }
    case "send":
    case "receive": {
      const direction = instruction.op === "send" ? "Out" : "In";
      expect(instruction.stream.endsWith(direction), `on stream ${instruction.stream}`);
      break;
    }
    case "sumSquares":
      expect(tensor(instruction.output).dtype === "float64", "output is not float64");
      expect(
        [1, EXACT_LIMBS].includes(elements(instruction.output)),
        `output is not [1] or [${EXACT_LIMBS}]`,
      );
      break;
    case "clip":
      expect(tensor(instruction.sumSquares).dtype === "float64", "sumSquares is not float64");
      expect(elements(instruction.output) === 2, "output is not [factor, norm]");
      break;
    case "adamw": {
      const { parameter, gradient, moment1, moment2, decayElements, computeCopy } = instruction;
      const size = elements(parameter);
      expect(
        [gradient, moment1, moment2].every((one) => elements(one) === size),
        "parameter, gradient and moments differ in size",
      );
      expect(computeCopy < 0 || elements(computeCopy) === size, "the compute copy differs in size");
      expect(decayElements >= 0 && decayElements <= size, `decays ${decayElements} of ${size} elements`);
      sameDtype(parameter, moment1, moment2);
      expect(
        ["float32", "bfloat16"].includes(program.tensors[gradient]!.dtype),
        `gradients are float32 or bfloat16, not ${program.tensors[gradient]!.dtype}`,
      );
      break;
    }
    case "fill":
      break;
    default:
      assertNever(instruction);
  }
  return problems;
}
