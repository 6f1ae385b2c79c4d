import type { Dtype } from "../../base/units.js";
import type { GraphBuilder } from "../graph-builder.js";
import type { Attributes, GraphNode, Value, ValueType } from "../ir.js";

/** Everything the graph room knows about one op. */
export interface OpDefinition {
  /**
   * Types of the outputs for these inputs.
   * @throws GraphError in words when they do not fit.
   */
  readonly infer: (inputs: readonly (Value | null)[], attributes: Attributes) => readonly ValueType[];
  /**
   * Reverse mode: gradients of the inputs from those of the outputs, `null` where none flows.
   * Absent: the op has no gradient (comparisons, integers).
   */
  readonly gradient?: (
    g: GraphBuilder,
    node: GraphNode,
    outputGradients: readonly (Value | null)[],
    before: Value | null,
  ) => readonly (Value | null)[];
  /**
   * `gradient` adds `before`, the gradient of the first input from whatever else reads it, to its own: one pass over
   * memory less. Otherwise `before` is null.
   */
  readonly absorbs?: boolean;
  /** Composite ops: the outputs in standard ops, in the dtype of the inputs (never bfloat16). */
  readonly decompose?: (
    g: GraphBuilder,
    inputs: readonly (Value | null)[],
    attributes: Attributes,
  ) => readonly Value[];
  /** Spelled out on every device: none has a kernel for it. */
  readonly alwaysDecomposed?: boolean;
  /** Floating-point operations; 0 for what moves or scales memory only. A multiply-add counts two. */
  readonly flops?: (node: GraphNode) => number;
  /** Moves or reshapes only: backward makes it again instead of having it saved. */
  readonly movesOnly?: boolean;
}

/** A graph that cannot be: our own mistake or an indivisible shape, told in words. */
export class GraphError extends Error {
  override readonly name: string = "GraphError";
}

export function numberAttribute(attributes: Attributes, name: string): number {
  const value = attributes[name];
  if (typeof value !== "number") throw new GraphError(`attribute ${name}: expected a number, got ${value}`);
  return value;
}

export function numbersAttribute(attributes: Attributes, name: string): readonly number[] {
  const value = attributes[name];
  if (!Array.isArray(value)) throw new GraphError(`attribute ${name}: expected numbers, got ${value}`);
  return value as readonly number[];
}

export function flagAttribute(attributes: Attributes, name: string): boolean {
  return attributes[name] === true;
}

/** The input at `index`, which this op cannot do without. */
export function required(inputs: readonly (Value | null)[], index: number): Value {
  const value = inputs[index];
  if (value === undefined || value === null) throw new GraphError(`input ${index} is missing`);
  return value;
}

/** Dtype in which statistics, losses and, by default, parameter gradients are kept. */
export function wideDtype(dtype: Dtype): Dtype {
  return dtype === "float64" ? "float64" : "float32";
}

/** Dtype of a parameter's gradient that an op of compute type `dtype` makes. */
export function parameterGradientDtype(dtype: Dtype, attributes: Attributes): Dtype {
  return flagAttribute(attributes, "narrow") ? dtype : wideDtype(dtype);
}
