import { GalvatronError } from "../../base/errors.js";
import { fillNormal } from "../../base/random.js";
import type { Dtype } from "../../base/units.js";
import { product } from "../../program/flat-layout.js";
import type { Program } from "../../program/program.js";
import {
  type BlockRun,
  blockRuns,
  heldBlocks,
  STATE_KINDS,
  wholeBlock,
  wholeShape,
} from "../../program/state-blocks.js";
import type { StateSource } from "../checkpoint/stored-states.js";
import { roundBfloat16 } from "../weights/float-formats.js";

/** Where elements lie in their parameter: runs of `run`, the first at `start`, each `stride` after the one before. */
export interface StreamRuns {
  readonly start: number;
  readonly run: number;
  readonly stride: number;
}

/** Draws elements of a parameter into `target`. */
export type FillNormal = (
  target: Float32Array,
  seed: number,
  name: string,
  runs: StreamRuns,
  standardDeviation: number,
) => void;

const drawNormal: FillNormal = (target, seed, name, { start, run, stride }, standardDeviation) => {
  for (let at = 0; at < target.length; at += run) {
    const count = Math.min(run, target.length - at);
    target.set(fillNormal(seed, name, start + (at / run) * stride, count, standardDeviation), at);
  }
};

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

/** Bytes `from` to `until` of one tensor, made of `bytes` again and again. */
export interface RepeatedWrite extends TensorWrite {
  readonly from: number;
  readonly until: number;
}

/** Runs that follow each other in the target and keep their distance in the source, taken together. */
function* evenRuns(
  runs: Iterable<BlockRun>,
): Generator<StreamRuns & { readonly to: number; readonly elements: number }> {
  let even: {
    start: number;
    run: number;
    stride: number;
    to: number;
    elements: number;
    last: number;
  } | null = null;
  for (const { from, to, elements } of runs) {
    if (even && elements === even.run && to === even.to + even.elements) {
      const stride = from - even.last;
      if (even.elements === even.run || stride === even.stride) {
        even.stride = stride;
        even.elements += elements;
        even.last = from;
        continue;
      }
    }
    if (even) yield even;
    even = { start: from, run: elements, stride: elements, to, elements, last: from };
  }
  if (even) yield even;
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
        for (const { to, elements, ...runs } of evenRuns(
          blockRuns(block, wholeBlock(block.name, wholeShape(slice)), block),
        ))
          fill(target.subarray(to, to + elements), seed, block.name, runs, init.standardDeviation);
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
  const rounded = (tensor: number, values: Float32Array): TensorWrite => {
    const bits = new Uint16Array(values.length);
    round(values, bits);
    return { tensor, bytes: bytesOf(bits) };
  };
  for (const kind of kinds) {
    const blocks = heldBlocks(program, kind);
    for (const flat of program.flats) {
      const tensor = flat[kind];
      if (tensor < 0 || (cleared && (kind === "moment1" || kind === "moment2"))) continue;
      // The first forward reads the copy, before any update has written it.
      const copies =
        flat.computeCopy >= 0 &&
        flat.computeCopyStart === flat.parameterStart &&
        elementsOf(program, flat.computeCopy) === elementsOf(program, flat.parameter);
      if (kind === "computeCopy" && copies) continue;
      const values = scratch.subarray(0, elementsOf(program, tensor)).fill(0);
      if (source)
        for (const block of blocks)
          if (block.tensor === tensor)
            await source.read(
              kind === "computeCopy" ? "parameter" : kind,
              block,
              values.subarray(block.offset, block.offset + product(block.extent)),
            );
      if (kind === "computeCopy") yield rounded(tensor, values);
      else yield { tensor, bytes: bytesOf(values) };
      if (kind === "parameter" && copies) yield rounded(flat.computeCopy, values);
    }
  }
  yield* constantWrites(program);
}

/** More than any row of a matrix holds. */
const REPEATED_ELEMENTS = 2 ** 20;

/**
 * Parameters for a model that is timed, not trained: ones and stretches of normal numbers over and over, so that only a
 * stretch of each kind is drawn and crosses over to the device. For arenas that hold zeros already.
 */
export function* repeatedWrites(
  program: Program,
  seed: number,
  fill: FillNormal,
  { round = roundBfloat16 }: InitialValueOptions = {},
): Generator<RepeatedWrite> {
  const inits = new Map(program.parameters.map(({ name, init }) => [name, init]));
  /** By standard deviation, 0 for ones: as parameter and as copy. */
  const stretches = new Map<number, Record<"parameter" | "computeCopy", Uint8Array>>();
  const stretchOf = (standardDeviation: number): Record<"parameter" | "computeCopy", Uint8Array> => {
    let stretch = stretches.get(standardDeviation);
    if (!stretch) {
      const values = new Float32Array(REPEATED_ELEMENTS).fill(1);
      const runs = { start: 0, run: REPEATED_ELEMENTS, stride: 0 };
      if (standardDeviation > 0) fill(values, seed, "", runs, standardDeviation);
      const bits = new Uint16Array(REPEATED_ELEMENTS);
      round(values, bits);
      stretch = { parameter: bytesOf(values), computeCopy: bytesOf(bits) };
      stretches.set(standardDeviation, stretch);
    }
    return stretch;
  };
  for (const kind of ["parameter", "computeCopy"] as const)
    for (const { name, tensor, offset, extent } of heldBlocks(program, kind)) {
      const init = inits.get(name)!;
      if (init.kind === "zeros") continue;
      const bytes = stretchOf(init.kind === "ones" ? 0 : init.standardDeviation)[kind];
      const elementBytes = bytes.length / REPEATED_ELEMENTS;
      yield {
        tensor,
        from: offset * elementBytes,
        until: (offset + product(extent)) * elementBytes,
        bytes,
      };
    }
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
