import type { Dtype } from "../base/units.js";

/**
 * Ops of the intermediate representation: a closed list.
 *
 * The first groups mean what ONNX means by them. `collective` ops act over the tensor group along axis 0 and never
 * reach ONNX: {@link cut} splits a graph at them. `composite` ops stand for a pattern with its own gradient rule; they
 * are emitted as nodes of the domain "galvatron" or spelled out in standard ops (see composite-ops.ts).
 */
export type OpName = StandardOp | CollectiveOp | CompositeOp;

export type StandardOp =
  | "Constant"
  | "Add"
  | "Sub"
  | "Mul"
  | "Div"
  | "Neg"
  | "Exp"
  | "Log"
  | "Sqrt"
  | "Reciprocal"
  | "Tanh"
  | "Sigmoid"
  | "Erf"
  | "Cos"
  | "Sin"
  | "Relu"
  | "Where"
  | "Less"
  | "GreaterOrEqual"
  | "Equal"
  | "And"
  | "BitwiseAnd"
  | "Not"
  | "Cast"
  | "Identity"
  | "Reshape"
  | "Transpose"
  | "Slice"
  | "Pad"
  | "Concat"
  | "Expand"
  | "ReduceSum"
  | "ReduceMean"
  | "ReduceMax"
  | "MatMul"
  | "Gemm"
  | "Softmax"
  | "StandardGelu"
  | "Gather"
  | "GatherElements"
  | "ScatterElements"
  | "ScatterND";

export type CollectiveOp = "AllGather" | "ReduceScatter" | "AllReduce" | "AllToAll" | "CopyToGroup";

export type CompositeOp =
  | "Linear"
  | "LinearInputGradient"
  | "WeightGradient"
  | "ColumnSum"
  | "LayerNormalization"
  | "LayerNormalizationGradient"
  | "RmsNormalization"
  | "RmsNormalizationGradient"
  | "Gelu"
  | "LinearGelu"
  | "GeluGradient"
  | "LinearInputGeluGradient"
  | "SwiGlu"
  | "SwiGluGradient"
  | "Rotary"
  | "Dropout"
  | "Attention"
  | "AttentionGradient"
  | "SoftmaxCrossEntropyStatistics"
  | "SoftmaxCrossEntropyLoss"
  | "SoftmaxCrossEntropyGradient"
  | "Embedding"
  | "EmbeddingGradient";

type Attribute = number | string | boolean | readonly number[];
export type Attributes = Readonly<Record<string, Attribute>>;

/** Element type and static shape. */
export interface ValueType {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** A tensor in a graph: an input (`node` is null) or one output of a node. */
export interface Value extends ValueType {
  /** Order of creation in its builder. */
  readonly id: number;
  readonly node: GraphNode | null;
  /** Which output of `node`. */
  readonly output: number;
}

export interface GraphNode {
  /** Position in its builder's list: every input was made by an earlier node. */
  readonly id: number;
  readonly op: OpName;
  /** `null` for an optional input left out. */
  readonly inputs: readonly (Value | null)[];
  readonly outputs: readonly Value[];
  readonly attributes: Attributes;
}

/** Elements of a tensor of this shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** The value that only changes its shape on the way to `x`. */
export const unshaped = (x: Value): Value => (x.node?.op === "Reshape" ? x.node.inputs[0]! : x);
