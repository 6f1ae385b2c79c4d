/** One file of a dataset, with the size it had when the run was planned. */
export interface DataFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/**
 * Data as every rank sees it: files resolved once, by the coordinator, so that all ranks number the samples alike.
 * Serializes as JSON.
 */
export interface TextDataset {
  readonly format: "text";
  readonly files: readonly DataFile[];
  readonly totalBytes: number;
  readonly shuffle: boolean;
  readonly sequence: number;
  /** Samples of one epoch. */
  readonly samples: number;
  readonly seed: number;
}

export interface SyntheticDataset {
  readonly format: "synthetic";
  readonly vocabulary: number;
  readonly sequence: number;
  readonly seed: number;
}

export type Dataset = TextDataset | SyntheticDataset;
