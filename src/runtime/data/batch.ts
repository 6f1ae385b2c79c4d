import type { SampleReader } from "./sample-reader.js";

/** Which part of the global batch is meant. */
export interface BatchPart {
  readonly step: number;
  readonly globalBatch: number;
  readonly microBatches: number;
  readonly microBatch: number;
  readonly dataRank: number;
  readonly dataDegree: number;
}

/**
 * Places in the training order of a part's samples: micro-batch m of M holds samples `[m·B/M, (m+1)·B/M)` of its
 * step's global batch B, and data rank i of d the contiguous i-th part of those.
 */
export function placesOf(part: BatchPart): { readonly first: number; readonly count: number } {
  const perMicroBatch = part.globalBatch / part.microBatches;
  const count = perMicroBatch / part.dataDegree;
  return {
    first: part.step * part.globalBatch + part.microBatch * perMicroBatch + part.dataRank * count,
    count,
  };
}

/** Tokens and the tokens that follow them, int64, sequence first: `[rows, count]`. */
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
  const { first, count } = placesOf(part);
  const tokens = new BigInt64Array(rows.count * count);
  const labels = new BigInt64Array(rows.count * count);
  for (let column = 0; column < count; column++) {
    const sample = await reader.read(first + column);
    for (let row = 0; row < rows.count; row++) {
      const position = rows.first + row;
      tokens[row * count + column] = BigInt(sample[position]!);
      labels[row * count + column] = BigInt(sample[position + 1]!);
    }
  }
  return { tokens, labels };
}
