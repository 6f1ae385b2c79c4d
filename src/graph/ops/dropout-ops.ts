import type { CompositeOp } from "../ir.js";
import { GraphError, numberAttribute, type OpDefinition, required, wideDtype } from "./op-definition.js";

/** Bits of a product of two sums of keys that decide; 2^46 is exact in a double. */
export const DECIDING: number = 2 ** 46;

/**
 * Dropout (Srivastava et al. 2014) whose mask is a function of keys alone: of rows and of columns. Integer arithmetic
 * without overflow, so every device, plan and pass drops the same elements, and nothing of the mask is kept.
 */
export const DROPOUT_OPS: Readonly<Record<Extract<CompositeOp, "Dropout">, OpDefinition>> = {
  Dropout: {
    infer: (inputs) => {
      const x = required(inputs, 0);
      for (const [index, key] of inputs.slice(1).entries()) {
        const last = index < 3 ? 1 : x.shape[x.shape.length - 1];
        if (key?.dtype !== "int64" || key.shape[key.shape.length - 1] !== last)
          throw new GraphError(`Dropout: key ${index} is ${key?.dtype}[${key?.shape}] for x [${x.shape}]`);
      }
      return [{ dtype: x.dtype, shape: x.shape }];
    },
    gradient: (g, node, [dy]) => [
      dy ? g.one("Dropout", [dy, ...node.inputs.slice(1)], node.attributes) : null,
      ...node.inputs.slice(1).map(() => null),
    ],
    decompose: (g, inputs, attributes) => {
      const x = required(inputs, 0);
      const rate = numberAttribute(attributes, "rate");
      const [row0, row1, active, column0, column1] = [1, 2, 3, 4, 5].map((i) => required(inputs, i));
      const product = g.mul(g.add(row0!, column0!), g.add(row1!, column1!));
      const decides = g.bitwiseAnd(product, g.scalar(DECIDING - 1, "int64"));
      const threshold = g.mul(active!, g.scalar(Math.round(rate * DECIDING), "int64"));
      const kept = g.greaterOrEqual(decides, threshold);
      const wide = wideDtype(x.dtype);
      const grown = g.where(
        g.equal(active!, g.scalar(1, "int64")),
        g.scalar(1 / (1 - rate), wide),
        g.scalar(1, wide),
      );
      const factor = g.where(kept, grown, g.scalar(0, wide));
      return [g.cast(g.mul(g.cast(x, wide), factor), x.dtype)];
    },
    alwaysDecomposed: true,
    // Attention's backward makes dropped probabilities again from the probabilities it is given.
    movesOnly: true,
  },
};
