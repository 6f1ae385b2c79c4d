import { product } from "../../program/flat-layout.js";
import type { Program } from "../../program/program.js";
import {
  blockRuns,
  heldBlocks,
  type StateKind,
  wholeBlock,
  wholeShapes,
} from "../../program/state-blocks.js";
import type { WorkerPool } from "../coordinator/worker-pool.js";
import { decodeFloats } from "../weights/float-formats.js";

/** The model's parameters (or their gradients or moments) put together from all ranks, whole, by name. */
export type WholeParameters = ReadonlyMap<string, Float32Array>;

/** Reads the shards of all ranks and puts each element in its place of the whole parameter. */
export async function wholeParameters(
  pool: WorkerPool,
  programs: readonly Program[],
  what: StateKind | "gradient",
): Promise<WholeParameters> {
  const shapes = wholeShapes(programs);
  const whole = new Map([...shapes].map(([name, shape]) => [name, new Float32Array(product(shape))]));
  for (const program of programs) {
    const blocks = heldBlocks(program, what);
    const tensors = [...new Set(blocks.map((block) => block.tensor))];
    const bytes = await pool.read(program.rank, tensors);
    for (const [index, tensor] of tensors.entries()) {
      const { dtype } = program.tensors[tensor]!;
      const values = decodeFloats(bytes[index]!, dtype === "bfloat16" ? "BF16" : "F32");
      for (const block of blocks) {
        if (block.tensor !== tensor) continue;
        const target = whole.get(block.name)!;
        for (const { from, to, elements } of blockRuns(
          block,
          block,
          wholeBlock(block.name, shapes.get(block.name)!),
        ))
          target.set(values.subarray(block.offset + from, block.offset + from + elements), to);
      }
    }
  }
  return whole;
}
