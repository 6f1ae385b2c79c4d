import { elementCount, type GraphNode, type StandardOp, type Value, type ValueType } from "../ir.js";
import { flagAttribute, GraphError, numbersAttribute, type OpDefinition, required } from "./op-definition.js";

type ReduceOp = Extract<StandardOp, "ReduceSum" | "ReduceMean" | "ReduceMax" | "Softmax">;

function infer(
  inputs: readonly (Value | null)[],
  attributes: Readonly<Record<string, unknown>>,
): readonly ValueType[] {
  const x = required(inputs, 0);
  const axes = numbersAttribute(attributes as never, "axes");
  if (axes.some((axis) => axis < 0 || axis >= x.shape.length)) {
    throw new GraphError(`reduction: [${x.shape}] has no axes [${axes}]`);
  }
  const keep = flagAttribute(attributes as never, "keepdims");
  const shape = x.shape.flatMap((extent, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [extent]));
  return [{ dtype: x.dtype, shape }];
}

/** The reduced shape with extents of 1 where axes were reduced, so that it broadcasts against the input. */
function keptShape(node: GraphNode): readonly number[] {
  const axes = numbersAttribute(node.attributes, "axes");
  return node.inputs[0]!.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent));
}

const flops = (node: GraphNode): number => elementCount(node.inputs[0]!.shape);

export const REDUCE_OPS: Readonly<Record<ReduceOp, OpDefinition>> = {
  ReduceSum: {
    infer,
    gradient: (g, node, [dy]) => [
      dy ? g.expand(g.reshape(dy, keptShape(node)), node.inputs[0]!.shape) : null,
    ],
    flops,
  },
  ReduceMean: {
    infer,
    gradient: (g, node, [dy]) => {
      if (!dy) return [null];
      const x = node.inputs[0]!;
      const count = elementCount(x.shape) / elementCount(node.outputs[0]!.shape);
      const scaled = g.mul(g.reshape(dy, keptShape(node)), g.scalar(1 / count, dy.dtype));
      return [g.expand(scaled, x.shape)];
    },
    flops,
  },
  /** No gradient: used for the stability of exponentials only, where it cancels. */
  ReduceMax: { infer },
  /** Along the last axis. */
  Softmax: {
    infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
    gradient: (g, node, [dy]) => {
      if (!dy) return [null];
      const y = node.outputs[0]!;
      const inner = g.reduceSum(g.mul(dy, y), [y.shape.length - 1], true);
      return [g.mul(y, g.sub(dy, inner))];
    },
    flops: (node) => 5 * elementCount(node.inputs[0]!.shape),
  },
};
