import type { Dtype } from "../base/units.js";
import type { Precision } from "../plan/plan.js";
import type { Strategy } from "../plan/strategy.js";
import type { GraphRef } from "./graph-ref.js";

/**
 * What the graph room gives the program room: one layer under one strategy, forward and backward, cut at its
 * collectives. Shared by all layers of the same kind, strategy and micro-batch shape, and by all their ranks:
 * what differs between ranks enters as {@link RankConstant}.
 */
export interface LayerGraphs {
  readonly kind: string;
  /** Every tensor that the steps name, with its shape on one rank. */
  readonly values: Readonly<Record<string, LayerValue>>;
  readonly parameters: readonly ParameterDeclaration[];
  readonly constants: readonly RankConstant[];
  /** Activations that enter and leave at the layer's borders, in matching order for equal borders. */
  readonly borderInputs: readonly string[];
  readonly borderOutputs: readonly string[];
  /** Values that forward leaves for backward (border inputs counted where backward reads them). */
  readonly saved: readonly string[];
  readonly forward: readonly LayerStep[];
  readonly backward: readonly LayerStep[];
}

/** Role of a value: decides its buffer's lifetime and category. */
export interface LayerValue {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly role:
    | "borderInput"
    | "borderOutput"
    /** Gradient of a border output (read by backward) or of a border input (written by backward). */
    | "borderOutputGradient"
    | "borderInputGradient"
    | "parameter"
    | "parameterGradient"
    /** From the data loader: tokens, labels, masks. */
    | "data"
    | "constant"
    /** float32 [1]: this rank's share of the micro-batch's loss; [2]: then of the share of right answers. */
    | "loss"
    /** Between steps of one pass; saved or not. */
    | "intermediate";
  /** The value this one is the gradient of. */
  readonly gradientOf?: string;
}

/** A parameter of the layer, as the whole model knows it. */
export interface ParameterDeclaration {
  /** Value name here, and the last part of the parameter's full name: "attention.query.weight". */
  readonly name: string;
  readonly fullShape: readonly number[];
  /** How the tensor group cuts it: pieces along `axis`, or whole on every rank (`null`). */
  readonly cut: { readonly axis: number; readonly pieces: number } | null;
  /** AdamW decays it. */
  readonly decay: boolean;
  readonly init: Init;
  /** The parameter of the embedding that this one is (tied head). */
  readonly tiedTo?: string;
  /** Rows of `fullShape` that mean something; the rest pads the vocabulary so that it divides. Absent: all. */
  readonly unpaddedRows?: number;
}

/** Initial values; drawn per element of the full parameter from (seed, full name, element), so plans do not matter. */
export type Init =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "normal"; readonly standardDeviation: number };

/** A small tensor whose content depends on the rank's place in its tensor group (offsets, position rows), or on the layer. */
export interface RankConstant {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Content for each rank of the tensor group; "layer": the layer's number in the model, 0 for the embedding. */
  readonly perTensorRank: readonly (readonly number[])[] | "layer";
}

/**
 * A collective-free graph, or a collective over the tensor group, in the order of execution. A collective takes
 * pieces one after another in memory: its input and its output agree in elements, not in shape.
 */
export type LayerStep =
  | {
      readonly op: "run";
      readonly graph: GraphRef;
      readonly bytes: Uint8Array;
      readonly inputs: readonly string[];
      readonly outputs: readonly string[];
    }
  | {
      readonly op: "allReduce" | "allGather" | "reduceScatter" | "allToAll";
      readonly reduction: "sum" | "max";
      readonly input: string;
      readonly output: string;
    };

/** What the graphs of a layer depend on. */
export interface LayerRequest {
  /** A kind of the body, "embedding" or "head". */
  readonly kind: string;
  readonly strategy: Strategy;
  /** Samples of one micro-batch on this rank. */
  readonly samples: number;
  readonly precision: Precision;
  /** Tokens (or labels) of the global batch that the loss is the mean over. */
  readonly lossTokens: number;
}
