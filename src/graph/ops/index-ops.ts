import { elementCount, type StandardOp } from "../ir.js";
import { GraphError, numberAttribute, type OpDefinition } from "./op-definition.js";

type IndexOp = Extract<
  StandardOp,
  | "Gather"
  | "GatherElements"
  | "ScatterElements"
  | "ScatterND"
  | "StandardGelu"
  | "StandardLayerNormalization"
>;

/** Indexing, and the activation that ONNX Runtime has in a fused form for forward only. */
export const INDEX_OPS: Readonly<Record<IndexOp, OpDefinition>> = {
  /** Rows of `x` along axis 0. */
  Gather: {
    infer: ([x, indices]) => {
      if (indices!.dtype !== "int64")
        throw new GraphError(`Gather: indices are ${indices!.dtype}, not int64`);
      return [{ dtype: x!.dtype, shape: [...indices!.shape, ...x!.shape.slice(1)] }];
    },
    gradient: (g, node, [dy]) => {
      if (!dy) return [null, null];
      const [x, indices] = node.inputs;
      const zeros = g.constant([0], dy.dtype, x!.shape);
      const count = elementCount(indices!.shape);
      const updates = g.reshape(dy, [count, ...x!.shape.slice(1)]);
      return [g.scatterND(zeros, g.reshape(indices!, [count, 1]), updates), null];
    },
    movesOnly: true,
  },
  GatherElements: {
    infer: ([x, indices]) => [{ dtype: x!.dtype, shape: indices!.shape }],
    gradient: (g, node, [dy]) => {
      if (!dy) return [null, null];
      const [x, indices] = node.inputs;
      const zeros = g.constant([0], dy.dtype, x!.shape);
      return [g.scatterElements(zeros, indices!, dy, numberAttribute(node.attributes, "axis")), null];
    },
  },
  /** Adds the updates at the indices along `axis`. */
  ScatterElements: { infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }] },
  /** Adds rows of updates at row indices `[n, 1]`. */
  ScatterND: { infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }] },
  /** ONNX Gelu (opset 20). */
  StandardGelu: { infer: ([x]) => [{ dtype: x!.dtype, shape: x!.shape }] },
};
