/**
 * Samples of one micro-batch on one data rank, as the ancestor counts them: floored twice, so that a batch which
 * does not divide loses its remainder (no runtime can execute such a plan).
 */
export function localSamples(globalBatch: number, microBatches: number, data: number): number {
  return Math.floor(Math.floor(globalBatch / microBatches) / data);
}
