import type { SampleReader } from "./sample-reader.js";

/**
 * Which part of a step's samples is meant. Micro-batch m of M holds samples `[m·B/M, (m+1)·B/M)` of its step's
 * global batch B.
 */
export interface BatchPart {
  readonly step: number;
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
  return part.step * part.globalBatch + part.microBatch * perMicroBatch + part.firstSample;
}

/** Tokens and the tokens that follow them, int64, sequence first: `[rows, samples]`. */
export interface Batch {
  readonly tokens: BigInt64Array;
  readonly labels: BigInt64Array;
}

/**
 * Reads one rank's part of one micro-batch. Reads no other sample.
 *
 * @param rows - positions `[first, first + count)` of the sequence that this rank holds
 */
export async function readBatch(
  reader: SampleReader,
  part: BatchPart,
  rows: { readonly first: number; readonly count: number },
): Promise<Batch> {
  const first = firstPlaceOf(part);
  const tokens = new BigInt64Array(rows.count * part.samples);
  const labels = new BigInt64Array(rows.count * part.samples);
  for (let column = 0; column < part.samples; column++) {
    const sample = await reader.read(first + column);
    for (let row = 0; row < rows.count; row++) {
      const position = rows.first + row;
      tokens[row * part.samples + column] = BigInt(sample[position]!);
      labels[row * part.samples + column] = BigInt(sample[position + 1]!);
    }
  }
  return { tokens, labels };
}
