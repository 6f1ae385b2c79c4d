import { GalvatronError } from "../../base/errors.js";
import { fillNormal } from "../../base/random.js";
import type { Dtype } from "../../base/units.js";
import type { ParameterSlice, Program } from "../../program/program.js";

/** Draws elements of a parameter, from `start` on, into `target`. */
export type FillNormal = (
  target: Float32Array,
  seed: number,
  name: string,
  start: number,
  standardDeviation: number,
) => void;

const drawNormal: FillNormal = (target, seed, name, start, standardDeviation) =>
  target.set(fillNormal(seed, name, start, target.length, standardDeviation));

/** How values are made and what needs none; left out, in JavaScript and everything. */
export interface InitialValueOptions {
  readonly fill?: FillNormal;
  readonly round?: (source: Float32Array, target: Uint16Array) => void;
  /** The arena holds zeros already: moments are not written. */
  readonly cleared?: boolean;
}

/** Bytes of one tensor. */
export interface TensorWrite {
  readonly tensor: number;
  readonly bytes: Uint8Array;
}

/**
 * All that a fresh rank must hold before its first step: parameters, zero moments, constants. One tensor at a time,
 * so that at most one flat vector is held twice.
 *
 * @param seed - of the parameters; null writes zeros
 */
export function* initialWrites(
  program: Program,
  seed: number | null,
  options: InitialValueOptions = {},
): Generator<TensorWrite> {
  const { fill = drawNormal, round = roundBfloat16, cleared = false } = options;
  // One buffer for all flats, one after another: loading holds the longest flat once beside the arena.
  const tensors = program.flats.flatMap(({ parameter, moment1, moment2, computeCopy }) => [
    parameter,
    moment1,
    moment2,
    computeCopy,
  ]);
  const longest = Math.max(0, ...tensors.map((tensor) => (tensor < 0 ? 0 : elementsOf(program, tensor))));
  const scratch = new Float32Array(longest);
  for (const [index, flat] of program.flats.entries()) {
    const drawn = (tensor: number, start: number): Float32Array => {
      const values = scratch.subarray(0, elementsOf(program, tensor)).fill(0);
      if (seed !== null)
        for (const slice of program.parameters)
          if (slice.flat === index) fillSlice(values, start, slice, seed, fill);
      return values;
    };
    let values = drawn(flat.parameter, flat.parameterStart);
    yield { tensor: flat.parameter, bytes: bytesOf(values) };
    // The first forward reads the copy, before any update has written it.
    if (flat.computeCopy >= 0) {
      const same =
        flat.computeCopyStart === flat.parameterStart &&
        elementsOf(program, flat.computeCopy) === values.length;
      if (!same) values = drawn(flat.computeCopy, flat.computeCopyStart);
      const rounded = new Uint16Array(values.length);
      round(values, rounded);
      yield { tensor: flat.computeCopy, bytes: bytesOf(rounded) };
    }
    for (const moment of [flat.moment1, flat.moment2])
      if (moment >= 0 && !cleared)
        yield { tensor: moment, bytes: bytesOf(scratch.subarray(0, elementsOf(program, moment)).fill(0)) };
  }
  for (const constant of program.constants) {
    const { dtype } = program.tensors[constant.tensor]!;
    yield { tensor: constant.tensor, bytes: constantBytes(constant.values, dtype) };
  }
}

/**
 * Writes a rank's share of one parameter into its place of the flat vector, of which `target` holds the elements
 * from `targetStart` on. Rows of the last axis are runs of consecutive elements of the full parameter.
 */
export function fillSlice(
  target: Float32Array,
  targetStart: number,
  slice: ParameterSlice,
  seed: number,
  fill: FillNormal = drawNormal,
): void {
  const { init, fullShape } = slice;
  if (init.kind === "zeros") return;
  // Axes behind the first that are whole make one run with it.
  const whole = slice.extent.slice(1).every((size, i) => size === fullShape[i + 1]);
  const inner = fullShape.slice(1).reduce((product, size) => product * size, 1);
  const extent = whole && slice.extent.length > 1 ? [slice.extent[0]! * inner] : slice.extent;
  const start = whole && slice.extent.length > 1 ? [slice.start[0]! * inner] : slice.start;
  const rank = extent.length;
  const row = rank === 0 ? 1 : extent[rank - 1]!;
  const rows = extent.slice(0, -1).reduce((product, size) => product * size, 1);
  const strides = fullShape.map((_, axis) =>
    fullShape.slice(axis + 1).reduce((product, size) => product * size, 1),
  );
  for (let r = 0; r < rows; r++) {
    const at = slice.flatOffset + r * row - targetStart;
    const from = Math.max(0, -at);
    const until = Math.min(row, target.length - at);
    if (from >= until) continue;
    let rest = r;
    let element = rank === 0 ? 0 : start[rank - 1]!;
    for (let axis = rank - 2; axis >= 0; axis--) {
      element += (start[axis]! + (rest % extent[axis]!)) * strides[axis]!;
      rest = Math.floor(rest / extent[axis]!);
    }
    const part = target.subarray(at + from, at + until);
    if (init.kind === "ones") part.fill(1);
    else fill(part, seed, slice.name, element + from, init.standardDeviation);
  }
}

function elementsOf(program: Program, tensor: number): number {
  return program.tensors[tensor]!.shape.reduce((product, size) => product * size, 1);
}

function constantBytes(values: readonly number[], dtype: Dtype): Uint8Array {
  switch (dtype) {
    case "float32":
      return bytesOf(Float32Array.from(values));
    case "float64":
      return bytesOf(Float64Array.from(values));
    case "int64":
      return bytesOf(BigInt64Array.from(values, (value) => BigInt(value)));
    case "int32":
      return bytesOf(Int32Array.from(values));
    case "uint8":
    case "bool":
      return Uint8Array.from(values);
    case "bfloat16":
    case "float16":
      throw new GalvatronError(
        "PROGRAM_INVALID",
        `Constants of ${dtype} are not written: none has been needed.`,
      );
  }
}

/** Rounded to nearest, ties to even; parameters are finite. */
function roundBfloat16(source: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < bits.length; i++) {
    const bit = bits[i]!;
    target[i] = (bit + 0x7fff + ((bit >>> 16) & 1)) >>> 16;
  }
}

function bytesOf(values: Float32Array | Float64Array | BigInt64Array | Int32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
