import type { Dtype } from "../../base/units.js";
import type { GraphBuilder } from "../graph-builder.js";
import { elementCount, type StandardOp, sameShape, type Value, type ValueType } from "../ir.js";
import { GraphError, type OpDefinition, required } from "./op-definition.js";

/** Shape of an elementwise result under ONNX (NumPy) broadcasting. */
function broadcastShapes(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) {
      throw new GraphError(`shapes [${a}] and [${b}] do not broadcast`);
    }
    return Math.max(left, right);
  });
}

/** Sums a gradient over the axes along which `shape` was broadcast. */
export function unbroadcast(g: GraphBuilder, gradient: Value, shape: readonly number[]): Value {
  if (sameShape(gradient.shape, shape)) return gradient;
  const lead = gradient.shape.length - shape.length;
  const axes = gradient.shape.flatMap((extent, axis) =>
    axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
  );
  const summed = axes.length > 0 ? g.reduceSum(gradient, axes, true) : gradient;
  return g.reshape(summed, shape);
}

function binaryType(inputs: readonly (Value | null)[], dtype?: Dtype): readonly ValueType[] {
  const a = required(inputs, 0);
  const b = required(inputs, 1);
  if (a.dtype !== b.dtype) throw new GraphError(`element types ${a.dtype} and ${b.dtype} differ`);
  return [{ dtype: dtype ?? a.dtype, shape: broadcastShapes(a.shape, b.shape) }];
}

function binary(
  gradient: (g: GraphBuilder, a: Value, b: Value, y: Value, dy: Value) => readonly [Value, Value],
): OpDefinition {
  return {
    infer: (inputs) => binaryType(inputs),
    gradient: (g, node, [dy]) => {
      if (!dy) return [null, null];
      const [a, b] = [required(node.inputs, 0), required(node.inputs, 1)];
      const [da, db] = gradient(g, a, b, node.outputs[0]!, dy);
      return [unbroadcast(g, da, a.shape), unbroadcast(g, db, b.shape)];
    },
    flops: (node) => elementCount(node.outputs[0]!.shape),
  };
}

function unary(gradient: (g: GraphBuilder, x: Value, y: Value, dy: Value) => Value): OpDefinition {
  return {
    infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
    gradient: (g, node, [dy]) =>
      dy ? [gradient(g, required(node.inputs, 0), node.outputs[0]!, dy)] : [null],
    flops: (node) => elementCount(node.outputs[0]!.shape),
  };
}

/** Made again rather than kept: it costs one pass, and no buffer holds truth values. */
const comparison: OpDefinition = { infer: (inputs) => binaryType(inputs, "bool"), movesOnly: true };

type ElementwiseOp = Extract<
  StandardOp,
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
>;

export const ELEMENTWISE_OPS: Readonly<Record<ElementwiseOp, OpDefinition>> = {
  Add: binary((_g, _a, _b, _y, dy) => [dy, dy]),
  Sub: binary((g, _a, _b, _y, dy) => [dy, g.neg(dy)]),
  Mul: binary((g, a, b, _y, dy) => [g.mul(dy, b), g.mul(dy, a)]),
  Div: binary((g, _a, b, y, dy) => {
    const da = g.div(dy, b);
    return [da, g.neg(g.mul(da, y))];
  }),
  Neg: unary((g, _x, _y, dy) => g.neg(dy)),
  Exp: unary((g, _x, y, dy) => g.mul(dy, y)),
  Log: unary((g, x, _y, dy) => g.div(dy, x)),
  Sqrt: unary((g, _x, y, dy) => g.div(g.mul(dy, g.scalar(0.5, y.dtype)), y)),
  Reciprocal: unary((g, _x, y, dy) => g.neg(g.mul(dy, g.mul(y, y)))),
  Tanh: unary((g, _x, y, dy) => g.mul(dy, g.sub(g.scalar(1, y.dtype), g.mul(y, y)))),
  Sigmoid: unary((g, _x, y, dy) => g.mul(dy, g.mul(y, g.sub(g.scalar(1, y.dtype), y)))),
  Erf: unary((g, x, _y, dy) =>
    g.mul(g.mul(dy, g.scalar(2 / Math.sqrt(Math.PI), x.dtype)), g.exp(g.neg(g.mul(x, x)))),
  ),
  Cos: unary((g, x, _y, dy) => g.neg(g.mul(dy, g.sin(x)))),
  Sin: unary((g, x, _y, dy) => g.mul(dy, g.cos(x))),
  Relu: unary((g, _x, y, dy) => {
    const zero = g.scalar(0, y.dtype);
    return g.where(g.less(zero, y), dy, zero);
  }),
  Where: {
    infer: ([condition, a, b]) => {
      if (condition?.dtype !== "bool") throw new GraphError(`Where: the condition is ${condition?.dtype}`);
      if (a!.dtype !== b!.dtype) throw new GraphError(`Where: ${a!.dtype} and ${b!.dtype} differ`);
      const shape = broadcastShapes(condition.shape, broadcastShapes(a!.shape, b!.shape));
      return [{ dtype: a!.dtype, shape }];
    },
    gradient: (g, node, [dy]) => {
      if (!dy) return [null, null, null];
      const [condition, a, b] = node.inputs;
      const zero = g.scalar(0, dy.dtype);
      return [
        null,
        unbroadcast(g, g.where(condition!, dy, zero), a!.shape),
        unbroadcast(g, g.where(condition!, zero, dy), b!.shape),
      ];
    },
  },
  Less: comparison,
  GreaterOrEqual: comparison,
  Equal: comparison,
  And: comparison,
  BitwiseAnd: { infer: (inputs) => binaryType(inputs) },
  Not: { infer: ([x]) => [{ dtype: "bool", shape: x!.shape }], movesOnly: true },
  Cast: {
    infer: ([x], attributes) => [{ dtype: attributes.to as Dtype, shape: x!.shape }],
    gradient: (g, node, [dy]) => [dy ? g.cast(dy, node.inputs[0]!.dtype) : null],
    movesOnly: true,
  },
  Identity: {
    infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }],
    gradient: (_g, _node, [dy]) => [dy ?? null],
    movesOnly: true,
  },
};
