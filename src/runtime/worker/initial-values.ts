import { GalvatronError } from "../../base/errors.js";
import { fillNormal } from "../../base/random.js";
import type { Dtype } from "../../base/units.js";
import { product } from "../../program/flat-layout.js";
import type { Program } from "../../program/program.js";
import { blockRuns, heldBlocks, STATE_KINDS, wholeBlock, wholeShape } from "../../program/state-blocks.js";
import type { StateSource } from "../checkpoint/stored-states.js";
import { roundBfloat16 } from "../weights/float-formats.js";

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

/** How values are rounded and which need no writing; left out, in JavaScript and none. */
export interface InitialValueOptions {
  readonly round?: (source: Float32Array, target: Uint16Array) => void;
  /** Moments are zero, and the arena holds zeros already: they are not written. */
  readonly cleared?: boolean;
}

/** Bytes of one tensor. */
export interface TensorWrite {
  readonly tensor: number;
  readonly bytes: Uint8Array;
}

/** Fresh parameters, drawn by seed, full name and element, so that the plan does not matter; zero moments. */
export function drawnStates(program: Program, seed: number, fill: FillNormal = drawNormal): StateSource {
  const slices = new Map(program.parameters.map((slice) => [slice.name, slice]));
  return {
    read: async (state, block, target) => {
      const { init, ...slice } = slices.get(block.name)!;
      if (state !== "parameter" || init.kind === "zeros") target.fill(0);
      else if (init.kind === "ones") target.fill(1);
      else
        for (const run of blockRuns(block, wholeBlock(block.name, wholeShape(slice)), block))
          fill(
            target.subarray(run.to, run.to + run.elements),
            seed,
            block.name,
            run.from,
            init.standardDeviation,
          );
    },
  };
}

/**
 * All that a fresh rank must hold before its first step: parameters, moments, constants. One tensor at a time, so that
 * at most one flat vector is held twice. What pads a vector or a vocabulary is zero.
 *
 * @param source - of the states; null writes zeros
 */
export async function* initialWrites(
  program: Program,
  source: StateSource | null,
  options: InitialValueOptions = {},
): AsyncGenerator<TensorWrite> {
  const { round = roundBfloat16, cleared = false } = options;
  // One buffer for all flats, one after another: loading holds the longest flat once beside the arena.
  const kinds = [...STATE_KINDS, "computeCopy"] as const;
  const tensors = program.flats.flatMap((flat) => kinds.map((kind) => flat[kind]));
  const longest = Math.max(0, ...tensors.map((tensor) => (tensor < 0 ? 0 : elementsOf(program, tensor))));
  const scratch = new Float32Array(longest);
  for (const kind of kinds) {
    const blocks = heldBlocks(program, kind);
    for (const flat of program.flats) {
      const tensor = flat[kind];
      if (tensor < 0 || (cleared && (kind === "moment1" || kind === "moment2"))) continue;
      const values = scratch.subarray(0, elementsOf(program, tensor)).fill(0);
      if (source)
        for (const block of blocks)
          if (block.tensor === tensor)
            await source.read(
              kind === "computeCopy" ? "parameter" : kind,
              block,
              values.subarray(block.offset, block.offset + product(block.extent)),
            );
      // The first forward reads the copy, before any update has written it.
      if (kind === "computeCopy") {
        const rounded = new Uint16Array(values.length);
        round(values, rounded);
        yield { tensor, bytes: bytesOf(rounded) };
      } else yield { tensor, bytes: bytesOf(values) };
    }
  }
  yield* constantWrites(program);
}

/** What a rank whose states are there already must hold before its first step. */
export function* constantWrites(program: Program): Generator<TensorWrite> {
  for (const { tensor, values } of program.constants)
    yield { tensor, bytes: constantBytes(values, program.tensors[tensor]!.dtype) };
}

function elementsOf(program: Program, tensor: number): number {
  return product(program.tensors[tensor]!.shape);
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

function bytesOf(values: Float32Array | Float64Array | BigInt64Array | Int32Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
