import { DTYPE_BYTES, type Dtype } from "../base/units.js";
import type { GraphRef } from "../graph/graph-ref.js";
import type { Instruction, Program } from "../program/program.js";

/** Alignment of every buffer, as programs made from plans have it. */
const ALIGNMENT_BYTES = 256;

/** A tensor of a measuring Program; each has a buffer of its own. */
export interface MicroTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

export interface MicroProgramOptions {
  readonly rank: number;
  readonly ranks: number;
  readonly tensors: readonly MicroTensor[];
  readonly instructions: readonly Instruction[];
  readonly groups?: readonly (readonly number[])[];
  readonly graphs?: readonly GraphRef[];
}

/** A Program that computes nothing useful: the profiler's way to measure through what training runs on. */
export function microProgram(options: MicroProgramOptions): Program {
  const { rank, ranks, instructions } = options;
  let offset = 0;
  const buffers = options.tensors.map((tensor) => {
    const sizeBytes = DTYPE_BYTES[tensor.dtype] * tensor.shape.reduce((product, size) => product * size, 1);
    const buffer = {
      name: tensor.name,
      category: "io" as const,
      sizeBytes,
      offsetBytes: offset,
      persistent: true,
      first: 0,
      last: instructions.length - 1,
    };
    offset += Math.ceil(sizeBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return buffer;
  });
  const strategy = {
    tensorDegree: 1,
    tensorSplit: "weights",
    dataDegree: ranks,
    dataParallel: "ddp",
    recompute: false,
    placement: "consecutive",
  } as const;
  return {
    rank,
    plan: {
      ranks,
      globalBatch: ranks,
      microBatches: 1,
      schedule: "1f1b",
      precision: "float32",
      stageLayers: [1],
      layers: [strategy],
      vocabulary: strategy,
    },
    graphs: options.graphs ?? [],
    groups: options.groups ?? [],
    buffers,
    tensors: options.tensors.map((tensor, buffer) => ({ ...tensor, buffer, offsetBytes: 0 })),
    instructions,
    arenaBytes: Math.max(ALIGNMENT_BYTES, offset),
    io: { hyper: -1, clip: -1, loss: -1, inputs: {}, inputPlaces: {} },
    flats: [],
    parameters: [],
    constants: [],
  };
}
