import { forEachWrite } from "./instruction-access.js";
import type { CollectiveInstruction, Program } from "./program.js";
import { gathersParameters, scattersGradients } from "./span-kind.js";
import { tensorBytes } from "./tensor-bytes.js";

/** More ranks than these are not added up by one kernel. */
const MOST_RANKS = 16;

/** Smaller pieces of a reduction are not worth the copying; larger ones are copied in parts of so much. */
const LEAST_PIECE_BYTES = 64 * 1024;
const MOST_PIECE_BYTES = 32 * 1024 * 1024;

/** Collectives that a CUDA device does by copying out of the other ranks' memory, as `native/cuda/peer-memory.h` says. */
export interface CopiedCollectives {
  /** Indices of instructions. */
  readonly gathers: readonly number[];
  /** Gathers that ranks copy when all have said that they have come so far. */
  readonly toldGathers: readonly number[];
  readonly reductions: readonly number[];
  /** Memory that the others' pieces of a reduction are copied to before they are added. */
  readonly stagingBytes: number;
}

/**
 * Which collectives of a Program are copied where the device can: gathers of parameters, but the first over a group where no
 * layer hides it; and reduce-scatters of gradients but those behind which at most an embedding's backward comes, which would
 * hide nothing.
 */
export function copiedCollectives(program: Program): CopiedCollectives {
  const gathers: number[] = [];
  const toldGathers: number[] = [];
  const reductions: number[] = [];
  const met = new Set<number>();
  const written = new Set<number>();
  const ofLayers = program.instructions.map(({ op, label }) => op === "run" && (label.layer ?? -1) >= 0);
  const lastLayer = ofLayers.lastIndexOf(true);
  const firstLayer = program.instructions[ofLayers.indexOf(true)]?.label.layer ?? -1;
  for (const [index, instruction] of program.instructions.entries()) {
    if ("group" in instruction && program.groups[instruction.group]!.length > 1) {
      if (gathersParameters(instruction)) {
        const rests = !written.has(program.tensors[instruction.input]!.buffer);
        if (rests && met.has(instruction.group)) gathers.push(index);
        else if (!rests || instruction.label.layer! > firstLayer) toldGathers.push(index);
      }
      if (instruction.stream === "gather") met.add(instruction.group);
      if (scattersGradients(instruction) && index < lastLayer) reductions.push(index);
    }
    forEachWrite(instruction, (tensor) => written.add(program.tensors[tensor]!.buffer));
  }
  const pieceBytes = (index: number): number =>
    tensorBytes(program.tensors[(program.instructions[index] as CollectiveInstruction).output]!);
  const copied = reductions.filter((index) => {
    const { accumulates, group } = program.instructions[index] as CollectiveInstruction;
    const { length } = program.groups[group]!;
    return !accumulates && length <= MOST_RANKS && pieceBytes(index) >= LEAST_PIECE_BYTES;
  });
  const staging = copied.map((index) => {
    const { length } = program.groups[(program.instructions[index] as CollectiveInstruction).group]!;
    return (length - 1) * Math.min(MOST_PIECE_BYTES, pieceBytes(index));
  });
  return { gathers, toldGathers, reductions: copied, stagingBytes: Math.max(0, ...staging) };
}
