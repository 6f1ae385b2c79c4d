import type { GraphBuilder } from "../graph-builder.js";
import { type Attributes, type CompositeOp, elementCount, type Value } from "../ir.js";
import { asMatrix } from "./linear-ops.js";
import {
  flagAttribute,
  GraphError,
  numberAttribute,
  type OpDefinition,
  parameterGradientDtype,
  required,
} from "./op-definition.js";

type EmbeddingOp = Extract<CompositeOp, "Embedding" | "EmbeddingGradient">;

/** Up to this many rows the gradient is a product with a one-hot matrix, beyond it a scatter. */
const ONE_HOT_ROWS = 512;

function insideTable(g: GraphBuilder, indices: Value, rows: number): Value {
  const zero = g.scalar(0, "int64");
  return g.and(g.greaterOrEqual(indices, zero), g.less(indices, g.scalar(rows, "int64")));
}

function decomposeEmbedding(g: GraphBuilder, weight: Value, indices: Value, attributes: Attributes): Value {
  if (!flagAttribute(attributes, "checked")) return g.gather(weight, indices);
  const inside = insideTable(g, indices, weight.shape[0]!);
  const rows = g.gather(weight, g.where(inside, indices, g.scalar(0, "int64")));
  const mask = g.where(inside, g.scalar(1, weight.dtype), g.scalar(0, weight.dtype));
  return g.mul(rows, g.reshape(mask, [...indices.shape, 1]));
}

/** Lookup in a table of which this rank may hold only some rows. */
export const EMBEDDING_OPS: Readonly<Record<EmbeddingOp, OpDefinition>> = {
  Embedding: {
    infer: (inputs) => {
      const [weight, indices] = [required(inputs, 0), required(inputs, 1)];
      if (indices.dtype !== "int64" || weight.shape.length !== 2) {
        throw new GraphError(`Embedding: weight [${weight.shape}], indices ${indices.dtype}`);
      }
      return [{ dtype: weight.dtype, shape: [...indices.shape, weight.shape[1]!] }];
    },
    gradient: (g, node, [dy]) => {
      const [weight, indices] = node.inputs;
      const checked = flagAttribute(node.attributes, "checked");
      const attributes = { rows: weight!.shape[0]!, checked, ...g.narrow };
      return [dy ? g.one("EmbeddingGradient", [dy, indices!], attributes) : null, null];
    },
    decompose: (g, inputs, attributes) => [
      decomposeEmbedding(g, required(inputs, 0), required(inputs, 1), attributes),
    ],
  },
  EmbeddingGradient: {
    infer: (inputs, attributes) => {
      const dy = required(inputs, 0);
      const shape = [numberAttribute(attributes, "rows"), dy.shape[dy.shape.length - 1]!];
      return [{ dtype: parameterGradientDtype(dy.dtype, attributes), shape }];
    },
    decompose: (g, inputs, attributes) => {
      const [dy, indices] = [asMatrix(g, required(inputs, 0)), required(inputs, 1)];
      const rows = numberAttribute(attributes, "rows");
      const count = elementCount(indices.shape);
      const flat = g.reshape(indices, [count]);
      const checked = flagAttribute(attributes, "checked");
      if (rows <= ONE_HOT_ROWS) {
        const iota = g.constant(
          Array.from({ length: rows }, (_, i) => i),
          "int64",
          [1, rows],
        );
        const oneHot = g.cast(g.equal(g.reshape(flat, [count, 1]), iota), dy.dtype);
        return [g.gemm(oneHot, dy, null, { transA: true })];
      }
      // Indices outside go to a row of their own, which is left out.
      const last = g.scalar(rows, "int64");
      const place = checked ? g.where(insideTable(g, flat, rows), flat, last) : flat;
      // Zeros that depend on an input: as a constant, ONNX Runtime would keep a second table for them.
      const zero = g.cast(g.mul(g.slice(place, 0, 0, 1), g.scalar(0, "int64")), dy.dtype);
      const zeros = g.expand(g.reshape(zero, [1, 1]), [checked ? rows + 1 : rows, dy.shape[1]!]);
      return [g.slice(g.scatterND(zeros, g.reshape(place, [count, 1]), dy), 0, 0, rows)];
    },
    flops: (node) => elementCount(node.inputs[0]!.shape),
  },
};
