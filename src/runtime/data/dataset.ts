import type { Objective } from "./objectives/objective.js";

/** Types of the numbers in a file of tokens or an array. All little-endian. */
export type ElementType =
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "uint32"
  | "int32"
  | "int64"
  | "uint64"
  | "float32"
  | "float64"
  | "bool";

/** One file of a dataset, with the size it had when the run was planned. */
export interface DataFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** A run of tokens in a file. */
export interface TokenPiece extends DataFile {
  readonly type: ElementType;
  /** Of the first token. */
  readonly offsetBytes: number;
  readonly tokens: number;
}

/** A C-contiguous array in a file. */
export interface FileArray extends DataFile {
  readonly type: ElementType;
  readonly offsetBytes: number;
  readonly shape: readonly number[];
}

/** Where samples come from. */
export type Source =
  /** Sample i is a window of the pieces, one after another: it starts at token `i · stride`. */
  | { readonly kind: "tokens"; readonly pieces: readonly TokenPiece[]; readonly stride: number }
  | { readonly kind: "images"; readonly files: readonly { readonly path: string; readonly label: number }[] }
  | {
      readonly kind: "arrays";
      readonly images: FileArray;
      readonly labels: FileArray;
      /** Axis of the channels in one image; null where there is none. */
      readonly channelAxis: "first" | "last" | null;
    }
  | { readonly kind: "synthetic" };

/** One of several blended sources. */
export interface DatasetPart {
  readonly source: Source;
  /** Samples of one epoch. */
  readonly samples: number;
  /** Samples that training never sees. */
  readonly heldOut: number;
  /** Share of the training order; all parts' weights sum to 1. */
  readonly weight: number;
}

/**
 * Data as every rank sees it: found and measured once, by the coordinator, so that all ranks number the samples alike.
 * Serializes as JSON.
 */
export interface Dataset {
  readonly parts: readonly DatasetPart[];
  readonly objective: Objective;
  readonly seed: number;
  readonly shuffle: boolean;
}
