import type { Example, ExampleReader } from "./example-reader.js";
import type { ValueShape } from "./objectives/objective.js";

/**
 * Which part of a step's samples is meant. Micro-batch m of M holds samples `[m·B/M, (m+1)·B/M)` of its step's
 * global batch B.
 */
export interface BatchPart {
  /** Place in the training order of the step's first sample. */
  readonly firstPlace: number;
  readonly globalBatch: number;
  readonly microBatches: number;
  readonly microBatch: number;
  /** Samples `[firstSample, firstSample + samples)` within the micro-batch. */
  readonly firstSample: number;
  readonly samples: number;
}

/** Place in the training order of a part's first sample; the others follow it. */
export function firstPlaceOf(part: BatchPart): number {
  const perMicroBatch = part.globalBatch / part.microBatches;
  return part.firstPlace + part.microBatch * perMicroBatch + part.firstSample;
}

/**
 * Reads a part's samples and no other.
 *
 * @param heldOut - of the held-out samples, in order, instead of those to train on; null beyond their end
 */
export async function readExamples(
  reader: ExampleReader,
  part: BatchPart,
  wanted: ReadonlySet<string>,
  heldOut: boolean,
): Promise<readonly (Example | null)[]> {
  const first = firstPlaceOf(part);
  const examples: (Example | null)[] = [];
  for (let i = 0; i < part.samples; i++)
    examples.push(await (heldOut ? reader.heldOut(first + i, wanted) : reader.train(first + i, wanted)));
  return examples;
}

/** One value of some samples as graphs read it, sequence first: `[rows, samples, width]`. */
export function layOut(
  examples: readonly (Example | null)[],
  name: string,
  { rows, width, type, blank }: ValueShape,
): BigInt64Array | Float32Array {
  const samples = examples.length;
  const count = rows * samples * width;
  const values = type === "int64" ? new BigInt64Array(count) : new Float32Array(count);
  for (const [column, example] of examples.entries()) {
    const from = example?.[name];
    for (let row = 0; row < rows; row++)
      for (let i = 0; i < width; i++) {
        const at = (row * samples + column) * width + i;
        const value = from ? from[row * width + i]! : blank;
        if (values instanceof BigInt64Array) values[at] = BigInt(value);
        else values[at] = value;
      }
  }
  return values;
}
