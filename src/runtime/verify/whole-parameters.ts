import type { FlatParameters, ParameterSlice, Program } from "../../program/program.js";
import type { WorkerPool } from "../coordinator/worker-pool.js";

/** The model's parameters (or their gradients) put together from all ranks, whole, by name. */
export type WholeParameters = ReadonlyMap<string, Float32Array>;

/** Reads the shards of all ranks and puts each element in its place of the whole parameter. */
export async function wholeParameters(
  pool: WorkerPool,
  programs: readonly Program[],
  what: "parameter" | "gradient",
): Promise<WholeParameters> {
  const whole = new Map<string, Float32Array>();
  for (const program of programs) {
    const bytes = await pool.read(
      program.rank,
      program.flats.map((flat) => flat[what]),
    );
    for (const slice of program.parameters) {
      const flat = program.flats[slice.flat]!;
      const raw = bytes[slice.flat]!;
      const shard = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
      let target = whole.get(slice.name);
      if (!target) {
        target = new Float32Array(elements(slice.fullShape));
        whole.set(slice.name, target);
      }
      place(target, slice, shard, startOf(flat, what));
    }
  }
  return whole;
}

function startOf(flat: FlatParameters, what: "parameter" | "gradient"): number {
  return what === "parameter" ? flat.parameterStart : flat.gradientStart;
}

/** Copies the part of a slice that `shard` holds (elements of the flat vector from `shardStart` on). */
function place(target: Float32Array, slice: ParameterSlice, shard: Float32Array, shardStart: number): void {
  const { extent, start, fullShape } = slice;
  const axes = extent.length;
  const count = elements(extent);
  const index = new Array<number>(axes).fill(0);
  for (let k = 0; k < count; k++) {
    const at = slice.flatOffset + k - shardStart;
    if (at >= 0 && at < shard.length) {
      let full = 0;
      for (let axis = 0; axis < axes; axis++) full = full * fullShape[axis]! + start[axis]! + index[axis]!;
      target[full] = shard[at]!;
    }
    for (let axis = axes - 1; axis >= 0; axis--) {
      index[axis]!++;
      if (index[axis]! < extent[axis]!) break;
      index[axis] = 0;
    }
  }
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}
