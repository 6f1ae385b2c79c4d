import type { GraphBuilder } from "../graph-builder.js";
import { type CompositeOp, elementCount, type GraphNode, sameShape, unshaped, type Value } from "../ir.js";
import { GraphError, type OpDefinition, parameterGradientDtype, required } from "./op-definition.js";

/** `[.., K]` as the matrix `[rows, K]`. */
export function asMatrix(g: GraphBuilder, x: Value): Value {
  const columns = x.shape[x.shape.length - 1]!;
  return g.reshape(x, [elementCount(x.shape) / columns, columns]);
}

export const lastExtent = (x: Value): number => x.shape[x.shape.length - 1]!;

const productFlops = (node: GraphNode): number =>
  2 * elementCount(node.inputs[0]!.shape) * lastExtent(node.outputs[0]!);

/** Column sums of a gradient, for a bias; the gradient of GELU has made them on its way. */
function columnSum(g: GraphBuilder, dy: Value): Value {
  const source = unshaped(dy);
  const sums = source.node?.op === "GeluGradient" || source.node?.op === "LinearInputGeluGradient";
  return sums && lastExtent(source) === lastExtent(dy)
    ? source.node.outputs[1]!
    : g.one("ColumnSum", [dy], g.narrow);
}

type LinearOp = Extract<CompositeOp, "Linear" | "LinearInputGradient" | "WeightGradient" | "ColumnSum">;

/** Matrix products with weights as `[out, in]`, and the two gradients that go with them. */
export const LINEAR_OPS: Readonly<Record<LinearOp, OpDefinition>> = {
  Linear: {
    infer: (inputs) => {
      const [x, weight] = [required(inputs, 0), required(inputs, 1)];
      if (weight.shape.length !== 2 || lastExtent(x) !== weight.shape[1] || x.dtype !== weight.dtype) {
        throw new GraphError(`Linear: ${x.dtype}[${x.shape}] does not fit ${weight.dtype}[${weight.shape}]`);
      }
      const type = { dtype: x.dtype, shape: [...x.shape.slice(0, -1), weight.shape[0]!] };
      const addend = inputs[3];
      if (addend && (addend.dtype !== type.dtype || !sameShape(addend.shape, type.shape))) {
        throw new GraphError(
          `Linear: addend ${addend.dtype}[${addend.shape}] is not ${type.dtype}[${type.shape}]`,
        );
      }
      return [type];
    },
    gradient: (g, node, [dy]) => {
      if (!dy) return [null, null, null, null];
      const [x, weight, bias, addend] = node.inputs;
      return [
        g.one("LinearInputGradient", [dy, weight!, null]),
        g.one("WeightGradient", [dy, x!], g.narrow),
        bias ? columnSum(g, dy) : null,
        addend ? dy : null,
      ];
    },
    decompose: (g, inputs) => {
      const [x, weight] = [required(inputs, 0), required(inputs, 1)];
      const [bias = null, addend = null] = inputs.slice(2);
      const c = bias ?? (addend && asMatrix(g, addend));
      const y = g.gemm(asMatrix(g, x), weight, c, { transB: true });
      const product = g.reshape(y, [...x.shape.slice(0, -1), weight.shape[0]!]);
      return [bias && addend ? g.add(product, addend) : product];
    },
    flops: productFlops,
  },
  LinearInputGradient: {
    infer: (inputs) => {
      const [dy, weight] = [required(inputs, 0), required(inputs, 1)];
      return [{ dtype: dy.dtype, shape: [...dy.shape.slice(0, -1), weight.shape[1]!] }];
    },
    decompose: (g, inputs) => {
      const [dy, weight] = [required(inputs, 0), required(inputs, 1)];
      const addend = inputs[2] ? asMatrix(g, inputs[2]) : null;
      return [
        g.reshape(g.gemm(asMatrix(g, dy), weight, addend, {}), [...dy.shape.slice(0, -1), weight.shape[1]!]),
      ];
    },
    flops: productFlops,
  },
  WeightGradient: {
    infer: (inputs, attributes) => {
      const [dy, x] = [required(inputs, 0), required(inputs, 1)];
      const dtype = parameterGradientDtype(x.dtype, attributes);
      return [{ dtype, shape: [lastExtent(dy), lastExtent(x)] }];
    },
    decompose: (g, inputs) => [
      g.gemm(asMatrix(g, required(inputs, 0)), asMatrix(g, required(inputs, 1)), null, { transA: true }),
    ],
    flops: productFlops,
  },
  ColumnSum: {
    infer: (inputs, attributes) => {
      const x = required(inputs, 0);
      return [{ dtype: parameterGradientDtype(x.dtype, attributes), shape: [lastExtent(x)] }];
    },
    decompose: (g, inputs) => [g.reduceSum(asMatrix(g, required(inputs, 0)), [0], false)],
    flops: (node) => elementCount(node.inputs[0]!.shape),
  },
};
