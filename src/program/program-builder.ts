import { DTYPE_BYTES, type Dtype } from "../base/units.js";
import type { GraphRef } from "../graph/graph-ref.js";
import { product } from "./flat-layout.js";
import { forEachRead, forEachWrite } from "./instruction-access.js";
import type { BufferCategory, Instruction, TensorView } from "./program.js";

/** A buffer whose address is not decided yet. `first` and `last` grow with the instructions that touch it. */
export interface DraftBuffer {
  readonly name: string;
  readonly category: BufferCategory;
  readonly sizeBytes: number;
  /** Set when the program is closed. */
  offsetBytes: number;
  readonly persistent: boolean;
  first: number;
  last: number;
}

/** Waits are set when the program is closed. */
const NOT_YET: readonly number[] = [];

/** An instruction before its waits are known. */
export type DraftInstruction = Instruction extends infer One
  ? One extends Instruction
    ? Omit<One, "waits">
    : never
  : never;

/**
 * One rank's program while it is written: tables of graphs, groups, buffers and tensors, and the instructions in an
 * order in which they could run one by one.
 */
export class ProgramBuilder {
  readonly graphs: GraphRef[] = [];
  readonly groups: (readonly number[])[] = [];
  readonly buffers: DraftBuffer[] = [];
  readonly tensors: TensorView[] = [];
  readonly instructions: Instruction[] = [];
  readonly #graphIndex = new Map<string, number>();
  readonly #groupIndex = new Map<string, number>();

  /** Index of the instruction that comes next. */
  get position(): number {
    return this.instructions.length;
  }

  graph(ref: GraphRef): number {
    let index = this.#graphIndex.get(ref.id);
    if (index === undefined) {
      index = this.graphs.push(ref) - 1;
      this.#graphIndex.set(ref.id, index);
    }
    return index;
  }

  group(ranks: readonly number[]): number {
    const key = ranks.join();
    let index = this.#groupIndex.get(key);
    if (index === undefined) {
      index = this.groups.push(ranks) - 1;
      this.#groupIndex.set(key, index);
    }
    return index;
  }

  /** A new buffer that holds exactly one tensor. */
  tensor(
    name: string,
    category: BufferCategory,
    dtype: Dtype,
    shape: readonly number[],
    persistent: boolean = false,
  ): number {
    const buffer = this.buffers.push({
      name,
      category,
      sizeBytes: product(shape) * DTYPE_BYTES[dtype],
      offsetBytes: 0,
      persistent,
      first: -1,
      last: -1,
    });
    return this.tensors.push({ name, buffer: buffer - 1, offsetBytes: 0, dtype, shape }) - 1;
  }

  /** Another view of the buffer of `tensor`, `offset` elements from its start. */
  view(tensor: number, name: string, offset: number, shape: readonly number[]): number {
    const whole = this.tensors[tensor]!;
    return (
      this.tensors.push({
        name,
        buffer: whole.buffer,
        offsetBytes: whole.offsetBytes + offset * DTYPE_BYTES[whole.dtype],
        dtype: whole.dtype,
        shape,
      }) - 1
    );
  }

  /** Appends the instruction; the draft becomes it. */
  emit(draft: DraftInstruction): number {
    const instruction = draft as Instruction;
    (instruction as { waits: readonly number[] }).waits = NOT_YET;
    const index = this.instructions.push(instruction) - 1;
    forEachRead(instruction, this.#touch);
    forEachWrite(instruction, this.#touch);
    return index;
  }

  /** Keeps the tensor's address from `position` on, so that its first instruction waits for nothing later. */
  reserveFrom(tensor: number, position: number): void {
    const buffer = this.buffers[this.tensors[tensor]!.buffer]!;
    if (buffer.first === -1 || position < buffer.first) buffer.first = position;
  }

  /** Keeps the tensor's address until the instruction emitted last, so that nobody before it waits for its readers. */
  keepUntilNow(tensor: number): void {
    const buffer = this.buffers[this.tensors[tensor]!.buffer]!;
    buffer.last = Math.max(buffer.last, this.position - 1);
  }

  /** The instruction emitted last uses the tensor. */
  readonly #touch = (tensor: number): void => {
    const index = this.instructions.length - 1;
    const buffer = this.buffers[this.tensors[tensor]!.buffer]!;
    if (buffer.first === -1) buffer.first = index;
    buffer.last = index;
  };
}
