import { DTYPE_BYTES, type Dtype } from "../../src/base/units.js";
import type { GraphRef } from "../../src/graph/graph-ref.js";
import type { BufferPlan, Instruction, Program, Stream, TensorView } from "../../src/program/program.js";

type Loose<T> = T extends Instruction ? Omit<T, "stream" | "waits" | "label"> : never;

/** Programs for native tests, written by hand: every tensor in a buffer of its own. */
export interface ProgramDraft {
  tensor(dtype: Dtype, shape: readonly number[], name?: string): number;
  /** A view into an earlier tensor's buffer. */
  view(of: number, offsetBytes: number, dtype: Dtype, shape: readonly number[]): number;
  group(ranks: readonly number[]): number;
  graph(ref: GraphRef): number;
  add(instruction: Loose<Instruction>, stream?: Stream, waits?: readonly number[]): number;
  build(): Program;
}

export function draftProgram(rank: number): ProgramDraft {
  const buffers: BufferPlan[] = [];
  const tensors: TensorView[] = [];
  const groups: (readonly number[])[] = [];
  const graphs: GraphRef[] = [];
  const instructions: Instruction[] = [];
  let arenaBytes = 0;
  return {
    tensor: (dtype, shape, name = `t${tensors.length}`) => {
      const sizeBytes = shape.reduce((product, extent) => product * extent, 1) * DTYPE_BYTES[dtype];
      buffers.push({
        name,
        category: "io",
        sizeBytes,
        offsetBytes: arenaBytes,
        persistent: true,
        first: 0,
        last: 0,
      });
      arenaBytes += Math.ceil(sizeBytes / 256) * 256;
      tensors.push({ name, buffer: buffers.length - 1, offsetBytes: 0, dtype, shape });
      return tensors.length - 1;
    },
    view: (of, offsetBytes, dtype, shape) => {
      const { buffer, offsetBytes: base } = tensors[of]!;
      tensors.push({ name: `t${tensors.length}`, buffer, offsetBytes: base + offsetBytes, dtype, shape });
      return tensors.length - 1;
    },
    group: (ranks) => groups.push(ranks) - 1,
    graph: (ref) => graphs.push(ref) - 1,
    add: (instruction, stream = "compute", waits = []) =>
      instructions.push({
        ...instruction,
        stream,
        waits,
        label: { phase: "forward", layer: 3, microBatch: 1 },
      } as Instruction) - 1,
    build: () => ({ rank, graphs, groups, buffers, tensors, instructions, arenaBytes }) as unknown as Program,
  };
}

/** Bytes of values as a tensor of that dtype holds them. */
export function bytesOf(dtype: Dtype, values: ArrayLike<number>): Uint8Array {
  const typed = typedOf(dtype, values);
  return new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength);
}

function typedOf(dtype: Dtype, values: ArrayLike<number>): ArrayBufferView {
  switch (dtype) {
    case "float32":
      return Float32Array.from(values);
    case "float64":
      return Float64Array.from(values);
    case "int32":
      return Int32Array.from(values);
    case "uint8":
    case "bool":
      return Uint8Array.from(values);
    case "int64":
      return BigInt64Array.from(Array.from(values, BigInt));
    case "bfloat16":
      return Uint16Array.from(Array.from(values, bfloat16Bits));
    case "float16":
      throw new Error("float16 values are given as bits");
  }
}

export function valuesOf(dtype: Dtype, bytes: Uint8Array): number[] {
  const { buffer, byteOffset, byteLength } = bytes;
  const copy = buffer.slice(byteOffset, byteOffset + byteLength);
  switch (dtype) {
    case "float32":
      return [...new Float32Array(copy)];
    case "float64":
      return [...new Float64Array(copy)];
    case "int32":
      return [...new Int32Array(copy)];
    case "uint8":
    case "bool":
      return [...new Uint8Array(copy)];
    case "int64":
      return [...new BigInt64Array(copy)].map(Number);
    case "bfloat16":
      return [...new Uint16Array(copy)].map(bfloat16Value);
    case "float16":
      return [...new Uint16Array(copy)];
  }
}

/** Rounds to nearest, ties to even. */
export function bfloat16Bits(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0]!;
  if (Number.isNaN(value)) return 0x7fc0;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

export function bfloat16Value(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!;
}
