import { KEY_MASK } from "../../base/mix.js";
import type { Program } from "../../program/program.js";
import { hashNumbers } from "../data/sample-order.js";
import type { TensorBytes } from "./tensor-bytes.js";

/** Rows of every value over the whole sequence, by its name: what tells a cut tensor from a whole one. */
export type FullRows = ReadonlyMap<string, number>;

/** From a Program of one rank, which holds all rows. */
export function fullRows(program: Program): FullRows {
  return new Map(
    Object.entries(program.io.inputs).map(([key, tensors]) => [
      program.io.inputPlaces[key]!.value,
      program.tensors[tensors[0]!]!.shape[0]!,
    ]),
  );
}

/**
 * Inputs of one step for one rank: every element a function of seed, step, value, sample and place alone, so all
 * plans see the same global batch. Whole numbers lie below `vocabulary` (dropout's keys below 2^30), others in [-1, 1).
 */
export function randomInputs(
  program: Program,
  rows: FullRows,
  vocabulary: number,
  seed: number,
  step: number,
): readonly TensorBytes[] {
  const { io, plan, tensors } = program;
  const perMicroBatch = plan.globalBatch / plan.microBatches;
  return Object.entries(io.inputs).flatMap(([key, list]) => {
    const { value, firstSample, samples, tensorIndex } = io.inputPlaces[key]!;
    const salt = hashNumbers(...[...value].map((sign) => sign.charCodeAt(0)));
    return list.map((tensor, microBatch) => {
      const { shape, dtype } = tensors[tensor]!;
      const own = shape[0]!;
      const width = shape.slice(2).reduce((product, extent) => product * extent, 1);
      const bound = value === "dropout" ? KEY_MASK : vocabulary;
      const firstRow = own === rows.get(value) ? 0 : tensorIndex * own;
      const values =
        dtype === "int64"
          ? new BigInt64Array(own * samples * width)
          : new Float32Array(own * samples * width);
      let at = 0;
      for (let row = firstRow; row < firstRow + own; row++)
        for (let column = 0; column < samples; column++) {
          const sample = microBatch * perMicroBatch + firstSample + column;
          for (let i = 0; i < width; i++) {
            const word = hashNumbers(seed, step, salt, sample, row, i);
            if (value === "dropout" && i === 2) values[at] = 1n;
            else if (values instanceof BigInt64Array) values[at] = BigInt(word % bound);
            else values[at] = word / 2 ** 31 - 1;
            at++;
          }
        }
      return { tensor, bytes: new Uint8Array(values.buffer) };
    });
  });
}
